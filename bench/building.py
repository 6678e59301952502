"""Builds the C++ programs of the benchmark: the load generator and the empty server."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent
BUILD = SOURCE / "build"
NEEDED = "cmake g++ libgrpc++-dev libprotobuf-dev protobuf-compiler-grpc"


class NotBuilt(Exception):
    """The C++ programs cannot be built here; the text says in one line what is missing."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where they lie."""

    loadgen: Path
    empty_server: Path


def build_programs(folder: Path = BUILD) -> Programs:
    """Build what is not up to date; a minute at the first time. Raises NotBuilt."""
    if shutil.which("cmake") is None:
        raise NotBuilt(f"no cmake here; Debian: apt install {NEEDED}")
    _run("-S", str(SOURCE), "-B", str(folder), hint=f"Debian: apt install {NEEDED}")
    _run("--build", str(folder), hint=f"cmake --build {folder} shows what is wrong")
    return Programs(folder / "loadgen" / "loadgen", folder / "references" / "empty_server")


def _run(*arguments: str, hint: str) -> None:
    command = ["cmake", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own files
    if done.returncode:
        raise NotBuilt(f"the load generator cannot be built ({first_error(done.stderr)}); {hint}")


def first_error(said: str) -> str:
    """What CMake or the compiler complained of first, in one line."""
    words = [line.strip() for line in said.splitlines() if line.strip()]
    at = next((index for index, line in enumerate(words) if "CMake Error" in line), -1)
    told = words[at + 1 : at + 2] if 0 <= at < len(words) - 1 else words[:1]
    return told[0].rstrip(".:") if told else "no reason given"
