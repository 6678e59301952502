"""Whether the device that the models should run on can be had."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seqserve.doctor.finding import Finding, fault, ok, warning

CHECK = "device"
START_SECONDS = 120.0
DRIVER = Path("/proc/driver/nvidia/version")
# torch takes seconds and hundreds of megabytes, and a GPU context more: so in a process of its own.
PROBE = """
import json, sys, torch
from seqserve.engines.embedded_device import find_device
from seqserve.errors import SettingsInvalid
try:
    name, refusal = find_device(sys.argv[1]).name, ""
    if name != "cpu":
        torch.zeros(1, device=name)
except (SettingsInvalid, RuntimeError) as error:
    name, refusal = "", str(error).partition("\\n")[0]
print(json.dumps({"name": name, "refusal": refusal, "torch": torch.__version__, "cuda": torch.version.cuda}))
"""


@dataclass(frozen=True, slots=True)
class Had:
    """What torch said. name: `cpu` or `cuda:N`, empty with a refusal. cuda: of torch's build, or None."""

    name: str
    refusal: str
    torch: str
    cuda: str | None


def ask_torch(wish: str) -> Had:
    """Whether torch gives this device. Raises OSError, ValueError or subprocess.SubprocessError."""
    done = subprocess.run(  # noqa: S603 - this Python
        [sys.executable, "-P", "-c", PROBE, wish],
        capture_output=True, text=True, check=True, timeout=START_SECONDS,
    )  # fmt: skip
    return Had(**json.loads(done.stdout.splitlines()[-1]))


def has_driver() -> bool:
    """Whether the NVIDIA driver is loaded, as seen from here."""
    return DRIVER.exists()


def check_device(
    wish: str, ask: Callable[[str], Had] = ask_torch, *, is_driver_seen: bool | None = None
) -> list[Finding]:
    """wish: the setting. is_driver_seen: None is looked up."""
    try:
        had = ask(wish)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        found = f"torch cannot be asked: {_reason(error)}"
        return [fault(CHECK, found, "Install torch for this machine: pip install 'seqserve[embedded]'.")]
    seen = has_driver() if is_driver_seen is None else is_driver_seen
    driver = "NVIDIA's driver is there" if seen else "no NVIDIA driver is seen"
    about = f"torch {had.torch}, {driver}"
    if had.refusal:
        return [fault(CHECK, f"{had.refusal} ({driver})", _advice(had, is_driver_seen=seen))]
    if had.name == "cpu" and wish == "auto" and seen:
        found = f"cpu, though {driver} (torch {had.torch})"
        return [warning(CHECK, found, _advice(had, is_driver_seen=seen))]
    return [ok(CHECK, f"{had.name} ({about})")]


def _advice(had: Had, *, is_driver_seen: bool) -> str:
    if not is_driver_seen:
        return "Use --device cpu, or give this machine or container an NVIDIA GPU and its driver."
    if had.cuda is None:
        return "Install a CUDA build of torch (README.md says how), or set --device cpu."
    return (
        "See that `nvidia-smi` lists the GPU here (a container needs `--gpus all`), "
        f"with a driver new enough for CUDA {had.cuda}."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or "").strip().splitlines()
        return lines[-1] if lines else f"Python ended with {error.returncode}"
    return getattr(error, "strerror", None) or type(error).__name__
