"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psutil

BUSY_PERCENT = 10
PACKAGES = ("seqserve", "grpcio", "protobuf", "numpy", "torch")


def facts() -> dict[str, str]:
    """Processor, cores, memory and versions, each by its name."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether the system shows a GPU. devices: where it does."""
    return any(devices.glob("nvidia[0-9]*"))


def warn_of_other_work(cores: Sequence[int]) -> list[str]:
    """Say so where something else runs there now; returns what was said."""
    shares = psutil.cpu_percent(interval=1.0, percpu=True)
    warnings = [
        f"core {core} is busy with other work ({shares[core]:.0f} %): these figures mean little"
        for core in cores
        if shares[core] > BUSY_PERCENT
    ]
    print("".join(f"{warning}\n" for warning in warnings), end="", flush=True)
    return warnings


def _processor() -> str:
    """As /proc/cpuinfo calls it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
