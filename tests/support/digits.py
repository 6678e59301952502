"""Real digits for clients to send, and what the model says to them outside of any server."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from seqserve.archive import read_archive
from seqserve.trust import UNCHECKED
from seqserve_models.dataset import to_values
from seqserve_models.datasets import load_digits
from support.archives import FloatArray

COUNT = 64


@dataclass(frozen=True)
class Digits:
    """folder: `rows.npy` FP32 [64, 784], `pixels.npy` UINT8 [64, 28, 28], `0.png` to `63.png`.

    expected: FP32 [64, 10].
    """

    folder: Path
    expected: FloatArray

    @property
    def rows(self) -> FloatArray:
        """FP32 [64, 784]."""
        rows: FloatArray = np.load(self.folder / "rows.npy")
        return rows

    def classes(self, count: int = COUNT) -> list[int]:
        """The best class of each."""
        return [int(best) for best in self.expected[:count].argmax(axis=1)]


def write_digits(folder: Path, archive: Path) -> Digits:
    """Held-out digits as files, with the answers of the archive's module."""
    pixels = load_digits().test_inputs[:COUNT]
    rows = to_values(pixels).reshape(COUNT, 784)
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "rows.npy", rows)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number}.png")
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript's is no news here
        module = torch.jit.load(io.BytesIO(read_archive(archive, UNCHECKED).torchscript))  # type: ignore[no-untyped-call]  # torch's
        return Digits(folder, module(torch.from_numpy(rows)).numpy())
