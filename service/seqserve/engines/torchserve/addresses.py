"""Addresses of TorchServes that somebody else runs, as gRPC wants them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass

from seqserve.errors import EngineUnavailable


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by name or number, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`HOST:PORT`, `[IPV6]:PORT`. Raises ValueError that says what came."""
        host, _, port = text.strip().rpartition(":")
        is_bracketed = host.startswith("[") and host.endswith("]")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65535:  # noqa: PLR2004 - TCP's
            raise ValueError(f"{text.strip()!r} is no HOST:PORT")
        if ":" in host and not is_bracketed:
            raise ValueError(f"{text.strip()!r}: write an IPv6 address as [ADDRESS]:PORT")
        return cls(host.strip("[]"), int(port))


def parse_addresses(text: str) -> list[Address]:
    """One or several, with commas between them. Raises ValueError."""
    return [Address.parse(part) for part in text.split(",")]


async def resolve(addresses: list[Address]) -> str:
    """A target that gRPC spreads calls over. Raises EngineUnavailable where no name resolves.

    A single name is left to gRPC, which asks for it again by itself. Of several, those that do not
    resolve are left out.
    """
    if len(addresses) == 1:
        return f"dns:///{_authority(addresses[0].host, addresses[0].port)}"
    found = await asyncio.gather(*map(_numbers, addresses))
    hosts = sorted({authority for authorities in found for authority in authorities})
    four = [authority for authority in hosts if not authority.startswith("[")]
    if four:  # one list cannot hold both families
        return "ipv4:" + ",".join(four)
    if hosts:
        return "ipv6:" + ",".join(hosts)
    raise EngineUnavailable("TorchServe's addresses do not resolve")


async def _numbers(address: Address) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [_authority(str(entry[4][0]), address.port) for entry in found]


def _authority(host: str, port: int) -> str:
    try:
        is_six = ipaddress.ip_address(host).version == 6  # noqa: PLR2004 - IPv6
    except ValueError:  # a name
        is_six = False
    return f"[{host}]:{port}" if is_six else f"{host}:{port}"
