"""Installs each peer in a virtual environment of its own, from a list of exact versions with hashes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

LISTS = Path(__file__).parent
ENVIRONMENTS = Path(__file__).parents[2] / "build" / "peers"
STAMP = "installed"


class NotInstalled(Exception):
    """It cannot be had here; the text says in one line why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An installed one."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Where they lie."""
        return next((self.folder / "lib").glob("python3*")) / "site-packages"


def install(peer: str, folder: Path = ENVIRONMENTS) -> Environment:
    """What is pinned for a peer, unless it is there already. Raises NotInstalled."""
    pinned = LISTS / f"{peer}.txt"
    environment, wanted = Environment(folder / peer), _stamp(pinned)
    stamp = environment.folder / STAMP
    if not stamp.exists() or stamp.read_text() != wanted:
        _make(environment, pinned)
        stamp.write_text(wanted)
    return environment


def torch_requirement() -> str:
    """The torch that we have: its build is whoever installs it's choice, so no list names it."""
    return f"torch=={version('torch').partition('+')[0]}"


def _stamp(pinned: Path) -> str:
    listed = hashlib.sha256(pinned.read_bytes()).hexdigest()
    return f"{listed} {torch_requirement()} {sys.version_info[:2]}\n"


def _make(environment: Environment, pinned: Path) -> None:
    try:
        venv.create(environment.folder, clear=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotInstalled(f"no virtual environment in {environment.folder}: {error}") from error
    _pip(environment, "--no-deps", "--require-hashes", "-r", str(pinned))
    _pip(environment, *os.environ.get("TORCH", torch_requirement()).split())


def _pip(environment: Environment, *arguments: str) -> None:
    command = [str(environment.python), "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own lists
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotInstalled((errors or done.stderr.splitlines() or ["pip says nothing"])[0])
