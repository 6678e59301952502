"""Open files: each connection is one or two; where there are no more nobody is answered, probes included."""

from __future__ import annotations

import contextlib
import resource

import structlog

from seqserve.grpc_api.health_port import MAX_CONNECTIONS
from seqserve.native_front import library
from seqserve.settings import Settings

RESERVE = 100
"""For libraries, archives, logs, and what connects the gateway with a TorchServe."""

log = structlog.get_logger()


def needed_files(settings: Settings) -> int:
    """As many as there are when every port has all the connections that it takes."""
    main = settings.max_grpc_connections * (2 if _may_be_native(settings) else 1)
    admin = 0 if settings.admin_port is None else settings.max_grpc_connections
    probes = 0 if settings.health_port is None else MAX_CONNECTIONS
    return settings.max_http_connections + main + admin + probes + RESERVE


def _may_be_native(settings: Settings) -> bool:
    """The native front has a second descriptor of each connection, to count it by."""
    return settings.front == "native" or (settings.front == "auto" and not library.why_not())


def hard_limit() -> int:
    """The most that this process may allow itself; -1 for no limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def suffices(limit: int, needed: int) -> bool:
    """Whether so many files may be open under a limit of the system's."""
    return limit == resource.RLIM_INFINITY or limit >= needed


def make_room(settings: Settings) -> None:
    """Raise this process's limit as far as it goes where it is too low, and warn where that will not do."""
    needed = needed_files(settings)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not suffices(soft, needed):
        with contextlib.suppress(ValueError, OSError):  # a system may have a limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if not suffices(allowed, needed):
        log.warning(
            "too few open files are allowed for all connections that the limits allow",
            allowed=allowed, needed=needed,
            hint="raise the hard limit (ulimit -Hn, LimitNOFILE=), or lower max_grpc_connections and "
            "max_http_connections",
        )  # fmt: skip
