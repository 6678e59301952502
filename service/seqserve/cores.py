"""How many cores this process may use: a container's limit counts, not the host's cores."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def available_cores(limit_file: Path = CGROUP_LIMIT) -> int:
    """Cores by affinity, bounded by the cgroup's quota, at least 1.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, `cpu.max` ("$MAX $PERIOD", µs).
    """
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = limit_file.read_text().split()
    except (OSError, ValueError):
        return allowed
    if quota == "max":
        return allowed
    return max(1, min(allowed, math.ceil(int(quota) / int(period))))
