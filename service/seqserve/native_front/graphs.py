"""Finds the extension that runs TorchScript without Python, for whoever has imported torch already."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from seqserve.native_front._graph import Graph

EXTENSION = "seqserve.native_front._graph"

log = structlog.get_logger()


def graph_reader() -> type[Graph] | None:
    """Makes graphs; None where it was built for another torch, or does not load, of which the log tells."""
    installed = version("torch").partition("+")[0]
    try:
        extension = importlib.import_module(EXTENSION)
    except ImportError as error:  # a symbol that another torch does not have is one too
        reason = (str(error).splitlines() or ["no reason is given"])[0]
    else:
        if installed == extension.TORCH_VERSION:
            graph: type[Graph] = extension.Graph
            return graph
        reason = f"built for torch {extension.TORCH_VERSION}, and {installed} is installed"
    log.warning("batches run by way of Python", reason=reason, hint="`make native` builds it for this torch")
    return None
