"""A model of `digit`'s answers whose batches take as long as a test wants them to: one picks the row that delays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from support.archives import FloatArray, make_archive
from support.torchscript import scripted
from support.truth import HANDLER, IMAGES, SIGNATURE, expected, network

PACED = "paced"
FOR_EVER, LONG = 0.125, 0.375
"""The first number of a row whose batch never ends, and of one whose batch takes a while; no pixel of 8 bits has either."""
TURNS = 20
TURNS_OF_A_LONG_ONE = 1500


class Paced(nn.Module):
    """The network; before it answers, `turns` products of 256x256 matrices, or more, or without end, as its rows ask for."""

    def __init__(self, inner: nn.Module, turns: int) -> None:
        super().__init__()
        self.inner = inner
        self.turns = turns
        self.long_turns = TURNS_OF_A_LONG_ONE
        self.weights = nn.Parameter(torch.eye(256), requires_grad=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[n, 784] → [n, 10]."""
        left = self.long_turns if bool((rows[:, 0] == 0.375).any()) else self.turns
        spun = torch.mm(self.weights, self.weights)
        for_ever = bool((rows[:, 0] == 0.125).any())
        while for_ever or left > 0:
            spun = torch.mm(spun, self.weights)
            left -= 1
        answers: torch.Tensor = self.inner(rows)
        return answers * spun[0, 0]


def put_paced(store: Path, turns: int = TURNS, version: str = "1") -> Path:
    """An archive of that model with the weights of `digit`'s same version; returns its path."""
    golden = IMAGES[:8].reshape(-1, 784), expected(version)[:8]
    members = {f"{PACED}.pt": scripted(Paced(network(version), turns)), "handler.py": HANDLER}
    return make_archive(store, PACED, version, signature=SIGNATURE, golden=golden, replace=members)


def endless() -> FloatArray:
    """A row whose batch never ends, [1, 784]."""
    return np.full((1, 784), FOR_EVER, np.float32)


def long_one() -> FloatArray:
    """A row whose batch takes a second or more, [1, 784]."""
    return np.full((1, 784), LONG, np.float32)
