"""What a fuzz target is: how it begins, and what must hold for any input at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TypeVar

from seqserve.errors import SeqserveError

CORPUS = Path(__file__).parent / "corpus"
CRASHES = Path(__file__).parent / "crashes"
LONGEST_WORDS = 4000
"""Of a refusal: what callers, logs and terminals are told is short."""

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - folders of our own are made in it
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """One.

    check: raises nothing for an input that is read as it should be, or refused with a documented error;
    whatever it raises is a crash. seeds: inputs to begin with, of the contract cases. words: what inputs
    are made of, for mutators. max_bytes: of an input. mutate: changes that a mutator of bytes would not find.
    few: executions in `make test`, of those that are slow fewer.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    words: Sequence[bytes] = ()
    max_bytes: int = 4096
    mutate: Callable[[bytes, Random], bytes] | None = None
    few: int = 1000

    def inputs(self) -> list[bytes]:
        """The seeds, and what once crashed it."""
        folder = CORPUS / self.name
        kept = sorted(folder.iterdir()) if folder.is_dir() else []
        return [*self.seeds(), *(path.read_bytes() for path in kept)]

    def crash_path(self, data: bytes) -> Path:
        """Where an input goes that crashes it."""
        return CRASHES / f"{self.name}-crash-{hashlib.sha256(data).hexdigest()[:16]}"


class Cursor:
    """An input that is taken piece by piece; beyond its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """So many bytes, or as many as are left."""
        piece = self._data[self._at : self._at + count]
        self._at += len(piece)
        return piece

    def number(self, size: int = 1) -> int:
        """A little-endian number of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def choice(self, options: Sequence[T]) -> T:
        """One of them, by one byte."""
        return options[self.number() % len(options)]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))


def check_words(refused: SeqserveError) -> None:
    """A refusal is something that may be told: it says something, is short, and can be printed."""
    words = str(refused)
    assert words, "a refusal without words"
    assert len(words) <= LONGEST_WORDS, f"a refusal of {len(words)} characters"
    assert words.isprintable(), f"a refusal that cannot be printed: {words!r}"


@cache
def scratch() -> Path:
    """A folder for what is read as a file, in memory where there is such a place; removed with the process."""
    _kept.append(TemporaryDirectory(prefix="seqserve-fuzz-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
    return Path(_kept[0].name)


_kept: list[TemporaryDirectory[str]] = []
