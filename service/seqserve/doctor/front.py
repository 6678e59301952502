"""Which front answers gRPC, and on which gRPC."""

from __future__ import annotations

from importlib import metadata

from seqserve.doctor.finding import Finding, fault, ok
from seqserve.errors import DependencyMissing
from seqserve.native_front import library
from seqserve.native_front.choice import choose_front
from seqserve.settings import Settings

CHECK = "front"


def check_front(settings: Settings) -> list[Finding]:
    """The front that these settings choose, with the version of gRPC that strangers would meet."""
    try:
        front = choose_front(settings)
        if front.name == "native":
            return [ok(CHECK, f"native, gRPC C++ {library.grpc_version()}")]
    except DependencyMissing as error:
        return [fault(CHECK, str(error), f"{error.hint}.")]
    why = f"; the native front is built and not used: {front.reason}" if front.reason else ""
    return [ok(CHECK, f"python, grpcio {metadata.version('grpcio')}{why}")]
