"""The sdist and the wheel of a commit: built twice, in two folders, and the same byte for byte."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from supply.pins import Pin, closure

MOST_SHOWN = 5

BACKEND = ("build", "hatchling")
"""What turns the source into packages; what they need takes part as well."""


class NotBuilt(Exception):
    """A release that could not be made, or not so that anybody could make it again."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What is built. id: the whole hash. seconds: its date, since 1970."""

    id: str
    seconds: int


def clean_commit(root: Path) -> Commit:
    """The commit that is checked out, if nothing differs from it. Raises NotBuilt."""
    changed = _git(root, "status", "--porcelain").decode().splitlines()
    if changed:
        raise NotBuilt(
            f"{len(changed)} files differ from the commit: {_few([line[3:] for line in changed])}; "
            "commit, ignore or remove them, or build in a fresh clone"
        )
    commit, seconds = _git(root, "log", "-1", "--format=%H %ct").decode().split()
    return Commit(commit, int(seconds))


def installed_backend(locked: Mapping[str, Pin]) -> list[Pin]:
    """What builds, sorted by name, as the lock pins it. Raises NotBuilt for other versions."""
    pins = [locked[name] for name in sorted(closure(BACKEND, locked))]
    for pin in pins:
        try:
            found = version(pin.name)
        except PackageNotFoundError:
            found = "no version"
        if found != pin.version:
            raise NotBuilt(f"{pin.name}: {found} is installed, the lock has {pin.version}")
    return pins


def build_reproducibly(root: Path, commit: Commit) -> dict[str, bytes]:
    """The packages by file name. Only what is in the commit can get into them. Raises NotBuilt."""
    source = _git(root, "-c", "tar.umask=0022", "archive", "--format=tar", commit.id)
    first, second = (_build(source, commit) for _ in range(2))
    different = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    if different:
        raise NotBuilt(f"two builds of {commit.id} differ in {', '.join(different)}")
    return first


def sha256(content: bytes) -> str:
    """In hex."""
    return hashlib.sha256(content).hexdigest()


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_SHOWN])
    return shown if len(names) <= MOST_SHOWN else f"{shown} and {len(names) - MOST_SHOWN} more"


def _build(source: bytes, commit: Commit) -> dict[str, bytes]:
    """The wheel comes from the sdist, as it does for whoever installs from one."""
    with tempfile.TemporaryDirectory() as folder:
        project, output = Path(folder) / "source", Path(folder) / "output"
        with tarfile.open(fileobj=io.BytesIO(source)) as archive:
            # Python 3.11.4 brought filters; before that git's own archive is taken as it is.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(project)  # noqa: S202 - of this very repository
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), str(project)]
        _run(command, Path(folder), {"SOURCE_DATE_EPOCH": str(commit.seconds)})
        return {path.name: path.read_bytes() for path in output.iterdir()}


def _git(root: Path, *arguments: str) -> bytes:
    return _run(["git", *arguments], root, {})


def _run(command: list[str], folder: Path, variables: Mapping[str, str]) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, cwd=folder, env={**os.environ, **variables}, capture_output=True, check=False
        )
    except OSError as error:
        raise NotBuilt(f"{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise NotBuilt(f"{' '.join(command[:3])}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return done.stdout
