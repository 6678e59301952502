"""What the gateway holds with one small model loaded, and with many."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.labels import SIXTY_FOUR
from bench.probing import wait_until_serving
from bench.serving import Front, first_right_answer, gateway
from bench.setting import Setting

FURTHER = 20
LOAD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Growth:
    """One pair. Resident bytes after a second of 64 callers, with one model and with 20 further ones."""

    one_bytes: int
    all_bytes: int

    @property
    def further_bytes(self) -> float:
        """Of each further model."""
        return (self.all_bytes - self.one_bytes) / FURTHER

    def __str__(self) -> str:
        return (
            f"{self.one_bytes / 1e6:.0f} MB with one model, {self.all_bytes / 1e6:.0f} MB with "
            f"{FURTHER} more: {self.further_bytes / 1e6:.2f} MB each"
        )


@dataclass(frozen=True, slots=True)
class Stores:
    """one: with the model alone. many: with copies of it under other names as well."""

    one: Path
    many: Path


def write_copies(archive: Path, store: Path, count: int) -> None:
    """Copies of an archive under other names. Raises subprocess.CalledProcessError."""
    command = [sys.executable, "-m", "bench.copies", str(archive), str(store), str(count)]
    subprocess.run(command, check=True)  # noqa: S603 - our own


def measure(setting: Setting, stores: Stores, front: Front) -> list[Growth]:
    """In turns. Raises ServerFailed, GeneratorFailed, WrongAnswer."""
    taken = []
    for number in range(1, setting.pairs + 1):
        held = [_held(setting, store, front) for store in (stores.one, stores.many)]
        taken.append(Growth(*held))
        setting.say(f"[{number}/{setting.pairs}] {front} front: {taken[-1]}")
    return taken


def _held(setting: Setting, store: Path, front: Front) -> int:
    with gateway(store, setting.core, setting.folder, front) as server:
        first_right_answer(server, setting.generator.rows[SIXTY_FOUR.work])
        wait_until_serving(server)
        setting.generator.run(server.doors["raw"], SIXTY_FOUR, LOAD_SECONDS)
        return server.memory_bytes()
