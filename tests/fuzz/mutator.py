"""Mutated inputs without coverage, the same each time: for the tests, which have no fuzzer installed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random

from fuzz.target import Target

INTERESTING = (0, 1, -1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**31, 2**32 - 1)
MOST_STEPS = 4


class Mutator:
    """Changes inputs of a target."""

    def __init__(self, target: Target, seed: int) -> None:
        self._random = Random(seed)
        self._words = list(target.words) or [b"\0"]
        self._inputs = target.inputs()
        self._own = target.mutate
        self._max_bytes = target.max_bytes
        self._steps: Sequence[Callable[[bytearray], bytearray]] = (
            self._flip, self._flip, self._byte, self._cut, self._doubled, self._word, self._number, self._crossed,
        )  # fmt: skip

    def mutated(self, count: int) -> Iterator[bytes]:
        """So many inputs, each a few steps from a good one."""
        for _ in range(count):
            data = self._begun(self._random.choice(self._inputs))
            for _ in range(self._random.randint(1, MOST_STEPS)):
                data = self._random.choice(self._steps)(data)
            yield bytes(data[: self._max_bytes])

    def _begun(self, data: bytes) -> bytearray:
        is_own = self._own is not None and self._random.random() < 0.5
        return bytearray(self._own(data, self._random) if self._own is not None and is_own else data)

    def _at(self, data: bytearray) -> int:
        return self._random.randrange(len(data) + 1)

    def _flip(self, data: bytearray) -> bytearray:
        if data:
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        return data

    def _byte(self, data: bytearray) -> bytearray:
        if data:
            data[self._random.randrange(len(data))] = self._random.randrange(256)
        return data

    def _cut(self, data: bytearray) -> bytearray:
        first, last = sorted((self._at(data), self._at(data)))
        return data[:first] + data[last:]

    def _doubled(self, data: bytearray) -> bytearray:
        first, last = sorted((self._at(data), self._at(data)))
        return data[:last] + data[first:last] * self._random.randint(1, 8) + data[last:]

    def _word(self, data: bytearray) -> bytearray:
        at, word = self._at(data), self._random.choice(self._words)
        behind = at + len(word) if self._random.random() < 0.5 else at
        return data[:at] + word + data[behind:]

    def _number(self, data: bytearray) -> bytearray:
        at, number = self._at(data), self._random.choice(INTERESTING)
        order = self._random.choice(("<", ">"))
        packed = struct.pack(f"{order}q", number)
        width = self._random.choice((1, 2, 4, 8))
        written = packed[:width] if order == "<" else packed[-width:]
        return data[:at] + written + data[at + width :]

    def _crossed(self, data: bytearray) -> bytearray:
        other = self._random.choice(self._inputs)
        return data[: self._at(data)] + other[self._random.randrange(len(other) + 1) :]
