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


async def resolve(addresses: list[Address]) -> list[str]:
    """Each single one that they stand for, as gRPC's targets. Raises EngineUnavailable where there is none.

    Those that do not resolve are left out.
    """
    found = await asyncio.gather(*map(_numbers, addresses))
    targets = sorted({target for targets in found for target in targets})
    if not targets:
        names = ", ".join(map(str, addresses))
        raise EngineUnavailable(f"TorchServe's addresses do not resolve: {names}")
    return targets


def joined(targets: list[str]) -> str:
    """One target that gRPC spreads calls over, of one or several.

    Numbers of IPv6 are left out where there are some of IPv4: one list cannot hold both.
    """
    four = [target for target in targets if target.startswith("ipv4:")]
    scheme = "ipv4:" if four else "ipv6:"
    return scheme + ",".join(target.removeprefix(scheme) for target in four or targets)


async def _numbers(address: Address) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter of what can be no name
        return []
    return [_target(str(entry[4][0]), address.port) for entry in found]


def _target(number: str, port: int) -> str:
    return f"ipv6:[{number}]:{port}" if _is_six(number) else f"ipv4:{number}:{port}"


def _is_six(host: str) -> bool:
    """Whether it is a number of IPv6, and no name."""
    try:
        return ipaddress.ip_address(host).version == 6  # noqa: PLR2004 - IPv6
    except ValueError:
        return False
