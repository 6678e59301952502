"""How long the gateway takes to its first right answer, and what it holds then, beside `import torch`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.generator import Generator
from bench.labels import SIXTY_FOUR
from bench.load import on_core
from bench.serving import Front, first_right_answer, gateway

LOAD_SECONDS = 1.0
IMPORT = "import torch"
IMPORT_AND_TELL = "import psutil, torch; print(psutil.Process().memory_info().rss)"


@dataclass(frozen=True, slots=True)
class Start:
    """One pair. memory_bytes: resident, after a second of 64 callers."""

    seconds: float
    memory_bytes: int
    import_seconds: float
    import_memory_bytes: int

    def __str__(self) -> str:
        return (
            f"first right answer {self.seconds:.2f} s, {self.memory_bytes / 1e6:.0f} MB; "
            f"import torch {self.import_seconds:.2f} s, {self.import_memory_bytes / 1e6:.0f} MB"
        )


@dataclass(frozen=True, slots=True)
class Starts:
    """What starts, and where. store: with one model."""

    store: Path
    core: int
    generator: Generator

    def measure(self, front: Front, pairs: int, say: Callable[[str], None]) -> list[Start]:
        """In turns. Raises ServerFailed, GeneratorFailed, WrongAnswer."""
        taken = []
        for number in range(1, pairs + 1):
            start = Start(*self._gateway(front), self._import_seconds(), self._import_memory())
            say(f"[{number}/{pairs}] {front} front: {start}")
            taken.append(start)
        return taken

    def _gateway(self, front: Front) -> tuple[float, int]:
        started = time.monotonic()
        with gateway(self.store, self.core, self.generator.folder, front) as server:
            first_right_answer(server, self.generator.rows[SIXTY_FOUR.work])
            seconds = time.monotonic() - started
            self.generator.run(server.doors["raw"], SIXTY_FOUR, LOAD_SECONDS)
            return seconds, server.memory_bytes()

    def _import_seconds(self) -> float:
        started = time.monotonic()
        self._python(IMPORT)
        return time.monotonic() - started

    def _import_memory(self) -> int:
        return int(self._python(IMPORT_AND_TELL))

    def _python(self, program: str) -> str:
        with on_core(self.core):
            return subprocess.run(  # noqa: S603 - our own program
                [sys.executable, "-c", program], check=True, capture_output=True, text=True
            ).stdout
