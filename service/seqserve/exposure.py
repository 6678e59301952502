"""What is open to strangers when the gateway listens where other machines can reach it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from seqserve.settings import Settings


@dataclass(frozen=True, slots=True)
class Exposure:
    """Something that is open, the settings that close it, and the one that has its address."""

    what: str
    hint: str
    setting: str = "host"


NO_TLS = Exposure(
    "without TLS whoever is on the way can read and change what callers send and get",
    "set tls_key and tls_certificate",
)
NO_CALLER = Exposure(
    "whoever reaches the ports is served, since nobody needs a token or a certificate",
    "set clients, or tls_client_ca",
)
PLAIN_TORCHSERVE = Exposure(
    "TorchServe is open to other machines without TLS: whoever is on the way can read its token",
    "keep torchserve_host on 127.0.0.1, or let only a network of your own reach it",
    setting="torchserve_host",
)


def exposures(settings: Settings) -> list[Exposure]:
    """All there are; none on an address of this machine alone."""
    found = []
    if not is_loopback(settings.host) and settings.tls_certificate is None:
        found.append(NO_TLS)
    if not is_loopback(settings.host) and not settings.clients and settings.tls_client_ca is None:
        found.append(NO_CALLER)
    if _has_own_torchserve(settings) and not is_loopback(settings.torchserve_host):
        found.append(PLAIN_TORCHSERVE)
    return found


def _has_own_torchserve(settings: Settings) -> bool:
    if settings.engine == "torchserve":
        return not settings.torchserve_address
    return settings.with_torchserve


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
