"""Loads archives where neither the build side nor the models' own code can be imported, as a server does.

Run as a program in an interpreter of its own: `python -P clean_load.py HIDDEN,MODULES ARCHIVE...`. It needs
numpy and torch alone, and says nothing unless something is wrong.
"""

from __future__ import annotations

import io
import json
import sys
import warnings
import zipfile
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import torch


class Hidden(MetaPathFinder):
    """Modules that cannot be imported, whatever is installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - importlib's signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Nothing, or ImportError for a module that is hidden."""
        if fullname.partition(".")[0] in self._names:
            raise ImportError(f"{fullname} is hidden here: an archive must not need it")
        return None


def check(path: str) -> None:
    """Load an archive's TorchScript and compare it with the golden rows. Raises ValueError."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    signature = json.loads(members["signature.json"])
    module = torch.jit.load(io.BytesIO(members[f"{signature['name']}.pt"]), map_location="cpu")  # type: ignore[no-untyped-call]
    with np.load(io.BytesIO(members["golden.npz"]), allow_pickle=False) as golden:
        inputs, expected = golden["inputs"], golden["outputs"]
    with torch.inference_mode():
        came = module(torch.from_numpy(inputs)).numpy()
    if came.dtype != np.float32:
        raise ValueError(f"{signature['name']}: answers {came.dtype}, not float32")
    if came.shape != expected.shape:
        raise ValueError(f"{signature['name']}: answers {list(came.shape)}, not {list(expected.shape)}")
    tolerance = signature["tolerance"]["cpu"]
    if not np.allclose(came, expected, rtol=tolerance["relative"], atol=tolerance["absolute"]):
        raise ValueError(f"{signature['name']}: differs by up to {np.abs(came - expected).max():.3g}")


def main(hidden: str, *paths: str) -> None:
    """Check all archives in this one process."""
    sys.meta_path.insert(0, Hidden(hidden.split(",")))
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for path in paths:
        check(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
