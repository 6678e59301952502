"""What the right answer is: images, and what the eager module of each version gives for them."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

import seqserve_models.handler
from seqserve.signature import CPU_TOLERANCE, Signature
from support.archives import FloatArray, make_archive
from support.contract import signature_document
from support.torchscript import scripted

MODEL = "digit"
SIGNATURE = Signature.parse(signature_document(MODEL))
PIXELS: npt.NDArray[np.uint8] = np.random.default_rng(11).integers(0, 256, (64, 28, 28), np.uint8)
IMAGES: FloatArray = PIXELS.astype(np.float32) / np.float32(255)  # [64, 28, 28]
PICTURES = [Image.fromarray(pixels) for pixels in PIXELS]
HANDLER = Path(seqserve_models.handler.__file__).read_bytes()


def network(version: str) -> nn.Sequential:
    """784→32→10 with weights that no other version has."""
    torch.manual_seed(int(version))
    return nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(dim=-1)).eval()


@cache
def expected(version: str) -> FloatArray:
    """What the eager module gives for IMAGES, [64, 10]."""
    with torch.inference_mode():
        answers: FloatArray = network(version)(torch.from_numpy(IMAGES.reshape(-1, 784))).numpy()
    return answers


def is_right(answers: FloatArray, version: str, chosen: npt.NDArray[np.int64]) -> bool:
    """Whether these are the answers of that version, and of no other, to the images of that choice."""
    wanted = expected(version)[chosen]
    bound = CPU_TOLERANCE.absolute + CPU_TOLERANCE.relative * np.abs(wanted)
    return answers.shape == wanted.shape and bool((np.abs(answers - wanted) <= bound).all())


def put_version(store: Path, version: str) -> Path:
    """An archive of that version in the store; returns its path."""
    golden = IMAGES[:8].reshape(-1, 784), expected(version)[:8]
    members = {f"{MODEL}.pt": scripted(network(version)), "handler.py": HANDLER}
    return make_archive(store, MODEL, version, signature=SIGNATURE, golden=golden, replace=members)


@cache
def png(index: int) -> bytes:
    """One of the images as a PNG file."""
    file = io.BytesIO()
    PICTURES[index].save(file, "PNG")
    return file.getvalue()
