"""What a gateway and its TorchServe roughly need of the memory that this container or machine has."""

from __future__ import annotations

from pathlib import Path

import psutil

from seqserve.cgroups import Group, groups_of
from seqserve.doctor.finding import Finding, ok, warning

CHECK = "memory"
# Seen with torch's CPU build and small models, rounded up; weights and batches come on top.
GATEWAY_BYTES, WORKER_BYTES, JAVA_BYTES = 200 * 10**6, 200 * 10**6, 150 * 10**6


def available_bytes(system: Path = Path("/"), machine_bytes: int | None = None) -> int:
    """The least limit of the process's cgroup and of all above it, or else the machine's memory.

    system: where proc is mounted. machine_bytes: None is looked up.
    """
    limits = [limit for group in groups_of("memory", system) if (limit := _limit(group)) is not None]
    return min([machine_bytes or psutil.virtual_memory().total, *limits])


def check_memory(available: int, *, workers: int, heap_megabytes: int) -> list[Finding]:
    """available: bytes. workers: of TorchServe. heap_megabytes: what its Java may use; 0 without one."""
    java = JAVA_BYTES + heap_megabytes * 2**20 if heap_megabytes else 0
    needed = GATEWAY_BYTES + java + workers * WORKER_BYTES
    parts = f", Java with a heap of {heap_megabytes} MiB, workers {workers}" if heap_megabytes else ""
    found = f"{_megabytes(available)}; the gateway{parts}: about {_megabytes(needed)} without the models' own"
    if needed <= available:
        return [ok(CHECK, found)]
    advice = (
        "Give it more memory, or load fewer versions (--version-policy latest:1) with fewer workers each."
    )
    return [warning(CHECK, found, advice)]


def _limit(group: Group) -> int | None:
    """Bytes that a group may use, None without a limit."""
    name = "memory.max" if group.is_v2 else "memory.limit_in_bytes"
    try:
        return int((group.folder / name).read_text())
    except (OSError, ValueError):  # no such file at a hierarchy's root; `max` is no number
        return None


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
