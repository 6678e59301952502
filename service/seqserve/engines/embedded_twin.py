"""A module's twin in C++, which answers to the last bit as the module does, or is done without."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import structlog
import torch

from seqserve.archive import Archive
from seqserve.engines.base import FloatArray, Graph

log = structlog.get_logger()

ReadGraph = Callable[[bytes, tuple[int, ...], int], Graph]
"""From a frozen module's TorchScript, an example's shape and an answer's width. Raises RuntimeError."""

MAX_BYTES = 8 << 20
"""Of TorchScript. The twin has weights of its own, and to read more takes longer than a quick batch may."""
ROUNDS = 2
"""TorchScript watches the first call of a size, and specializes its graph in the second."""


def twin_of(
    module: torch.jit.ScriptModule,
    archive: Archive,
    read: ReadGraph,
    forward: Callable[[FloatArray], FloatArray],
) -> Graph | None:
    """Warmed up; None where it is too large, or cannot be had, of which the log tells.

    module: frozen. forward: a pass of the module: [n, *example] → [n, *output].
    """
    if len(archive.torchscript) > MAX_BYTES:  # writing it out takes three times its size
        return None
    content = module.save_to_buffer()
    if len(content) > MAX_BYTES:
        return None
    signature = archive.signature
    width = math.prod(signature.output.example_shape)
    try:
        graph = read(content, tuple(signature.input.example_shape), width)
        if _agree(graph, forward, archive.golden_inputs, width, signature.max_batch_size):
            return graph
        reason = "its answers differ"
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
    log.warning("model runs by way of Python", model=archive.name, version=archive.version, reason=reason)
    return None


def _agree(
    graph: Graph, forward: Callable[[FloatArray], FloatArray], golden: FloatArray, width: int, largest: int
) -> bool:
    """Whether both answer the same to one example, and to the most that a batch may have."""
    for size in (1, largest):
        batch = np.resize(golden, (size, *golden.shape[1:]))
        answers = np.empty((size, width), np.float32)
        for _ in range(ROUNDS):
            graph.run(batch, answers)
        if not np.array_equal(answers, forward(batch).reshape(answers.shape), equal_nan=True):
            return False
    return True
