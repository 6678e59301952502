"""The gateway that is attacked: its models, what they must answer, and what it says and holds in the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from seqserve.signature import Signature
from seqserve.tensors import FloatArray
from support.archives import make_archive
from support.contract import signature_document
from support.footprint import Footprint, footprint
from support.served import Served, serving
from support.torchscript import scripted
from support.truth import HANDLER, put_version

BACK_SECONDS = 60.0
MORE_BYTES, MORE_DESCRIPTORS = 64 * 2**20, 4
"""What a gateway may still hold when all have gone: memory that its allocator keeps, and a few files."""
TINY = Signature.parse(signature_document("tiny_image"))


@contextlib.contextmanager
def attacked(folder: Path, front: str, engine: str) -> Iterator[Served]:
    """A gateway with `digit`, which neighbours ask, and `tiny`, which mutated messages are about."""
    store = folder / "store"
    store.mkdir()
    put_version(store, "1")
    halves = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 6)
    members = {"tiny.pt": scripted(_tiny()), "handler.py": HANDLER}
    make_archive(store, "tiny", "1", signature=TINY, golden=(halves, tiny_answers(halves)), replace=members)
    with serving(folder, store, f"--front={front}", f"--engine={engine}") as gateway:
        yield gateway


@cache
def _tiny() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 2), nn.Softmax(dim=-1)).eval()


def tiny_answers(rows: FloatArray) -> FloatArray:
    """What the eager module gives for rows of six."""
    with torch.inference_mode():
        answers: FloatArray = _tiny()(torch.from_numpy(rows.copy())).numpy()
    return answers


async def left_behind(gateway: Served, before: Footprint) -> list[str]:
    """What the gateway holds that it did not hold before, once it has had time to let go."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        now = footprint(gateway.process.pid, 0)
        faults = []
        if now.memory_bytes > before.memory_bytes + MORE_BYTES:
            faults.append(f"{now.memory_bytes >> 20} MiB, {before.memory_bytes >> 20} before")
        if now.descriptors > before.descriptors + MORE_DESCRIPTORS:
            faults.append(f"{now.descriptors} descriptors, {before.descriptors} before")
        if not faults or time.monotonic() > deadline:
            return faults
        await asyncio.sleep(0.2)


def end_of(gateway: Served) -> str:
    """How a gateway has ended that should not have."""
    return f"the gateway has ended with {gateway.process.returncode}: {gateway.log.read_text()[-2000:]}"


def errors_logged(gateway: Served) -> list[str]:
    """Errors of its own that a gateway wrote down."""
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{")]
    wrong = [line for line in lines if line.get("level") in {"error", "critical"}]
    return [f"logged: {line['event']} {str(line.get('exception', ''))[-600:]}" for line in wrong]
