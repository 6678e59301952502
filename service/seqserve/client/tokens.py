"""The token that says who calls, and over which ways it may go."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

AUTHORIZATION = "authorization"
VISIBLE = re.compile(r"[\x21-\x7e]+")
HOST_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:]+)):\d+")

Token = str | Callable[[], str]
"""A token, or what gives the one that holds now; it is called for each call, by any thread."""


def authorization(token: Token) -> tuple[str, str]:
    """What carries the token beside a message.

    Raises ValueError, which does not quote it, for a token that no header can hold, and what `token` raises.
    """
    text = token if isinstance(token, str) else token()
    if not VISIBLE.fullmatch(text):
        raise ValueError(
            "token: it is empty, or has spaces, line ends or other characters that no header holds"
        )
    return AUTHORIZATION, f"Bearer {text}"


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is this machine itself, as far as its text tells: nothing is looked up."""
    found = HOST_AND_PORT.fullmatch(address)
    if found is None:
        return False
    if (found["host"] or "").lower() == "localhost":
        return True
    try:
        if found["ipv6"]:
            return ipaddress.IPv6Address(found["ipv6"]).is_loopback
        return ipaddress.IPv4Address(found["host"]).is_loopback
    except ValueError:
        return False
