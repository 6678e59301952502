"""Archives whose TorchScript runs: a small digit network, and any module in place of the straight line."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from seqserve.archive import Archive, read_archive
from seqserve.signature import Signature
from seqserve.trust import UNCHECKED
from support.archives import FloatArray, make_archive
from support.contract import signature_document

DIGIT = Signature.parse(signature_document("digit"))
LINE = Signature.parse(signature_document("line"))  # batches of at most 256
IMAGES = np.random.default_rng(7).random((256, 784), np.float32)
HALF, ONE = np.full((1, 1), 0.5, np.float32), np.full((1, 1), 1.0, np.float32)


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(dim=-1)).eval()


def eager(rows: FloatArray) -> FloatArray:
    with torch.inference_mode():
        answers: FloatArray = network()(torch.from_numpy(rows.copy())).numpy()
    return answers


def scripted(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # TorchScript's deprecation is no news here
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def line_archive(folder: Path, torchscript: bytes) -> Archive:
    members = {"line.pt": torchscript}
    return read_archive(
        make_archive(folder, "line", signature=LINE, golden=(HALF, ONE), replace=members), UNCHECKED
    )


def digit_archive(folder: Path) -> Archive:
    """`digit` 1 with `network`, which agrees with its golden rows."""
    golden = IMAGES[:8], eager(IMAGES[:8])
    members = {"digit.pt": scripted(network())}
    return read_archive(
        make_archive(folder, "digit", signature=DIGIT, golden=golden, replace=members), UNCHECKED
    )
