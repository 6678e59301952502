"""What is open to strangers when the gateway listens where other machines can reach it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from seqserve.settings import Settings


@dataclass(frozen=True, slots=True)
class Exposure:
    """Something that is open, and the settings that close it."""

    what: str
    hint: str


NO_TLS = Exposure(
    "without TLS whoever is on the way can read and change what callers send and get",
    "set tls_key and tls_certificate",
)
NO_CALLER = Exposure(
    "whoever reaches the ports is served, since nobody needs a token or a certificate",
    "set clients, or tls_client_ca",
)


def exposures(settings: Settings) -> list[Exposure]:
    """All there are; none on an address of this machine alone."""
    if is_loopback(settings.host):
        return []
    found = []
    if settings.tls_certificate is None:
        found.append(NO_TLS)
    if not settings.clients and settings.tls_client_ca is None:
        found.append(NO_CALLER)
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
