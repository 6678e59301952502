"""Addresses of TorchServes that somebody else runs, as gRPC wants them."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from dataclasses import dataclass

from seqserve.errors import EngineUnavailable

FORM = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[^\s:/@\[\]]+)):(?P<port>[0-9]{1,5})")
LARGEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by name or number, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`HOST:PORT`, `[IPV6]:PORT`. Raises ValueError that says what came."""
        form, text = FORM.fullmatch(text.strip()), text.strip()
        if form is not None and 0 < int(form["port"]) <= LARGEST_PORT and _is_six(form["six"] or "::"):
            return cls(form["six"] or form["host"], int(form["port"]))
        if _is_six(text.rpartition(":")[0]):
            raise ValueError(f"{text!r}: write an IPv6 address as [ADDRESS]:PORT")
        raise ValueError(f"{text!r} is no HOST:PORT")


def parse_addresses(text: str) -> list[Address]:
    """One or several, with commas between them. Raises ValueError."""
    return [Address.parse(part) for part in text.split(",")]


async def resolve(addresses: list[Address]) -> str:
    """A target that gRPC spreads calls over. Raises EngineUnavailable where no name resolves.

    A single name is left to gRPC, which asks for it again by itself. Of several, those that do not
    resolve are left out, and numbers of IPv6 where there are some of IPv4: one list cannot hold both.
    """
    if len(addresses) == 1:
        return f"dns:///{_authority(addresses[0].host, addresses[0].port)}"
    found = await asyncio.gather(*map(_numbers, addresses))
    hosts = sorted({authority for authorities in found for authority in authorities})
    four = [authority for authority in hosts if not authority.startswith("[")]
    if four:
        return "ipv4:" + ",".join(four)
    if hosts:
        return "ipv6:" + ",".join(hosts)
    raise EngineUnavailable("TorchServe's addresses do not resolve")


async def _numbers(address: Address) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter of what can be no name
        return []
    return [_authority(str(entry[4][0]), address.port) for entry in found]


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if _is_six(host) else f"{host}:{port}"


def _is_six(host: str) -> bool:
    """Whether it is a number of IPv6, and no name."""
    try:
        return ipaddress.ip_address(host).version == 6  # noqa: PLR2004 - IPv6
    except ValueError:
        return False
