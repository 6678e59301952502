"""The archive's TorchScript, asked with bytes: what the other servers have in common."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from bench.peers.programs import FILE_VARIABLE, SIZE_VARIABLE

WARM_UP_SIZES = (1, 1, 1, 7, 32, 32, 32)


def load() -> torch.jit.ScriptModule:
    """The model, which has run: TorchScript compiles in its first passes. One thread."""
    torch.set_num_threads(1)
    module: torch.jit.ScriptModule = torch.jit.load(os.environ[FILE_VARIABLE])  # type: ignore[no-untyped-call]
    for size in WARM_UP_SIZES:
        forward(module, torch.zeros(size, _example_bytes() // 4))
    return module


def forward(module: torch.jit.ScriptModule, batch: torch.Tensor) -> torch.Tensor:
    """FP32 [n, values] to FP32 [n, classes]."""
    with torch.inference_mode():
        answer: torch.Tensor = module(batch)
    return answer


def answer_bytes(module: torch.jit.ScriptModule, bodies: Sequence[bytes | bytearray]) -> list[bytes]:
    """Little-endian rows of each caller, run as one batch; to each the rows that are its own."""
    joined = torch.frombuffer(bytearray().join(bodies), dtype=torch.float32)
    answered = forward(module, joined.view(-1, _example_bytes() // 4)).numpy()
    replies, first = [], 0
    for body in bodies:
        last = first + len(body) // _example_bytes()
        replies.append(answered[first:last].tobytes())
        first = last
    return replies


def _example_bytes() -> int:
    return int(os.environ[SIZE_VARIABLE])
