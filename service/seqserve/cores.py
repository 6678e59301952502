"""How many cores this process may use: a container's limits count, not the host's cores.

Sources: Linux, Documentation/admin-guide/cgroup-v2.rst (`cpu.max`), scheduler/sched-bwc.rst
(`cpu.cfs_quota_us`).
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from seqserve.cgroups import Group, groups_of


def available_cores(system: Path = Path("/")) -> int:
    """Cores by affinity, bounded by the quotas of the process's cgroup and of all above it, at least 1.

    Affinity is bounded by the cgroup's cpuset already: the kernel sees to it. A part of a core counts
    as a core: 1.5 → 2.
    system: where proc is mounted, and what its paths begin at.
    """
    quotas = [_quota(group) for group in groups_of("cpu", system)]
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas if quota is not None)]))


def _quota(group: Group) -> float | None:
    """Cores that a group may use, None without a limit."""
    folder = group.folder
    try:
        if group.is_v2:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such file at a hierarchy's root; `max` is no number
        return None
