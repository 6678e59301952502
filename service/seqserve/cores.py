"""How many cores this process may use: a container's limits count, not the host's cores.

Sources: Linux, Documentation/admin-guide/cgroup-v2.rst (`cpu.max`), scheduler/sched-bwc.rst
(`cpu.cfs_quota_us`), filesystems/proc.rst (`mountinfo`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


def available_cores(system: Path = Path("/")) -> int:
    """Cores by affinity, bounded by the quotas of the process's cgroup and of all above it, at least 1.

    Affinity is bounded by the cgroup's cpuset already: the kernel sees to it. A part of a core counts
    as a core: 1.5 → 2.
    system: where proc is mounted, and what its paths begin at.
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas(system))]))


@dataclass(frozen=True, slots=True)
class _Mount:
    """One hierarchy of cgroups that may limit the CPU.

    root: the group that is seen at the mount point; in a container without a cgroup namespace it is
    the container's own.
    """

    is_v2: bool
    root: PurePosixPath
    point: Path

    def folders(self, group: str) -> Iterator[Path]:
        """The group's folder, and those above it as far as they are seen from here."""
        try:
            below = PurePosixPath(group).relative_to(self.root)
        except ValueError:  # the group lies outside of what is mounted
            below = PurePosixPath()
        for part in (below, *below.parents):
            yield self.point / part

    def quota_in(self, folder: Path) -> float | None:
        """Cores that a group may use, None without a limit."""
        try:
            if self.is_v2:
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            return int(quota) / int(period) if int(quota) > 0 else None
        except (OSError, ValueError):  # no such file at a hierarchy's root; `max` is no number
            return None


def _quotas(system: Path) -> Iterator[float]:
    try:
        groups = dict(_groups((system / "proc/self/cgroup").read_text()))
        mounts = list(_mounts((system / "proc/self/mountinfo").read_text(), system))
    except OSError:
        return
    for mount in mounts:
        for folder in mount.folders(groups.get(mount.is_v2, "/")):
            quota = mount.quota_in(folder)
            if quota is not None:
                yield quota


def _groups(text: str) -> Iterator[tuple[bool, str]]:
    """Whether v2 → the process's group; lines are `0::/path` (v2) and `4:cpu,cpuacct:/path` (v1)."""
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            yield True, path
        elif "cpu" in controllers.split(","):
            yield False, path


def _mounts(text: str, system: Path) -> Iterator[_Mount]:
    """Lines are `31 23 0:28 ROOT POINT options … - TYPE source options`."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            yield _Mount(kind == "cgroup2", PurePosixPath(root), system / point.lstrip("/"))
