"""The groups by which Linux limits a container: where this process's own lie, and those above it.

Sources: Linux, Documentation/admin-guide/cgroup-v2.rst, admin-guide/cgroup-v1, filesystems/proc.rst
(`mountinfo`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

Controller = Literal["cpu", "memory"]


@dataclass(frozen=True, slots=True)
class Group:
    """A folder of one group; which files lie there depends on the hierarchy's version."""

    folder: Path
    is_v2: bool


def groups_of(controller: Controller, system: Path = Path("/")) -> Iterator[Group]:
    """The process's group and those above it as far as they are seen from here, in each hierarchy.

    system: where proc is mounted, and what its paths begin at.
    """
    try:
        paths = dict(_paths((system / "proc/self/cgroup").read_text(), controller))
        mounts = list(_mounts((system / "proc/self/mountinfo").read_text(), controller, system))
    except OSError:
        return
    for mount in mounts:
        yield from mount.groups(paths.get(mount.is_v2, "/"))


@dataclass(frozen=True, slots=True)
class _Mount:
    """One hierarchy that may limit what the controller counts.

    root: the group that is seen at the mount point; in a container without a cgroup namespace it is
    the container's own.
    """

    is_v2: bool
    root: PurePosixPath
    point: Path

    def groups(self, path: str) -> Iterator[Group]:
        """The group of that path, and those above it as far as they are seen from here."""
        try:
            below = PurePosixPath(path).relative_to(self.root)
        except ValueError:  # the group lies outside of what is mounted
            below = PurePosixPath()
        for part in (below, *below.parents):
            yield Group(self.point / part, self.is_v2)


def _paths(text: str, controller: Controller) -> Iterator[tuple[bool, str]]:
    """Whether v2 → the process's group; lines are `0::/path` (v2) and `4:cpu,cpuacct:/path` (v1)."""
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            yield True, path
        elif controller in controllers.split(","):
            yield False, path


def _mounts(text: str, controller: Controller, system: Path) -> Iterator[_Mount]:
    """Lines are `31 23 0:28 ROOT POINT options … - TYPE source options`."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and controller in options.split(",")):
            yield _Mount(kind == "cgroup2", PurePosixPath(root), system / point.lstrip("/"))
