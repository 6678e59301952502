"""Which front answers gRPC: as it is set, else the native one where it is built and strangers are far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seqserve.exposure import is_loopback
from seqserve.native_front import library
from seqserve.settings import Settings

FrontName = Literal["python", "native"]
STRANGERS = "other machines reach the address, and no proxy is said to stand in front"


@dataclass(frozen=True, slots=True)
class Front:
    """The one that was chosen. reason: why not the native one although it is built, else ""."""

    name: FrontName
    reason: str = ""


def choose_front(settings: Settings) -> Front:
    """Raises DependencyMissing where the native front is asked for and cannot be used."""
    if settings.front == "native":
        library.load()
    if settings.front != "auto":
        return Front(settings.front)
    if library.why_not():
        return Front("python")
    # Strangers meet the gRPC that is kept up to date with Python's packages, not the system's.
    if is_loopback(settings.host) or settings.behind_proxy:
        return Front("native")
    return Front("python", STRANGERS)
