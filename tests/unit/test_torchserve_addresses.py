"""Addresses of TorchServes that others run."""

from __future__ import annotations

import asyncio
import socket

import pytest

from seqserve.engines.torchserve.addresses import Address, joined, parse_addresses, resolve
from seqserve.errors import EngineUnavailable

NAMES = {
    "one": ["10.0.0.2", "10.0.0.1", "2001:db8::1"],
    "two": ["10.0.0.3", "10.0.0.1"],
    "six": ["2001:db8::2"],
}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A name service that knows only these, and numbers."""
    known = {name: list(numbers) for name, numbers in NAMES.items()}

    async def find(
        _: asyncio.AbstractEventLoop, host: str, port: int, **options: int
    ) -> list[tuple[object, ...]]:
        if host not in known and not host[0].isdigit():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 0, 0, "", (number, port)) for number in known.get(host, [host])]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", find)
    return known


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:7070", Address("localhost", 7070)),
        (" ts-1.example.org:65535 ", Address("ts-1.example.org", 65535)),
        ("10.0.0.1:1", Address("10.0.0.1", 1)),
        ("[::1]:7070", Address("::1", 7070)),
        ("[2001:db8::1]:7070", Address("2001:db8::1", 7070)),
    ],
)
def test_host_and_port(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "host", "host:", ":7070", "host:0", "host:65536", "host:-1", "host:+1", "host:7e3", "host:²",
        "host:7070/path", "http://host:7070", "host name:7070", "[]:7070", "[host]:7070", "[::1:7070", "::1]:7070",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_came(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT") as caught:
        Address.parse(text)

    assert repr(text) in str(caught.value)


def test_a_number_of_six_wants_brackets() -> None:
    with pytest.raises(ValueError, match=r"write an IPv6 address as \[ADDRESS\]:PORT"):
        Address.parse("2001:db8::1:7070")


def test_several_have_commas_between_them() -> None:
    assert parse_addresses("one:1, two:2,[::1]:3") == [
        Address("one", 1),
        Address("two", 2),
        Address("::1", 3),
    ]
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_addresses("one:1,")


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("addresses", "target"),
    [
        ("one:7070", "ipv4:10.0.0.1:7070,10.0.0.2:7070"),
        ("one:7070,two:7071", "ipv4:10.0.0.1:7070,10.0.0.1:7071,10.0.0.2:7070,10.0.0.3:7071"),
        ("two:7071,one:7070", "ipv4:10.0.0.1:7070,10.0.0.1:7071,10.0.0.2:7070,10.0.0.3:7071"),
        ("one:7070,one:7070", "ipv4:10.0.0.1:7070,10.0.0.2:7070"),
        ("nowhere:7070,two:7071", "ipv4:10.0.0.1:7071,10.0.0.3:7071"),
        ("nowhere:7070,six:7071", "ipv6:[2001:db8::2]:7071"),
        ("six:7071,two:7071", "ipv4:10.0.0.1:7071,10.0.0.3:7071"),
        ("127.0.0.1:1,127.0.0.1:2", "ipv4:127.0.0.1:1,127.0.0.1:2"),
    ],
)
async def test_the_target_holds_all_that_resolves_and_does_not_depend_on_the_order(
    addresses: str, target: str
) -> None:
    assert joined(await resolve(parse_addresses(addresses))) == target


@pytest.mark.usefixtures("names")
async def test_where_nothing_resolves_there_is_no_target() -> None:
    with pytest.raises(EngineUnavailable, match="do not resolve"):
        await resolve(parse_addresses("nowhere:7070,elsewhere:7070"))


async def test_a_name_that_no_name_can_be_is_left_out() -> None:
    too_long = "x" * 64

    assert await resolve(parse_addresses(f"{too_long}.org:7070,127.0.0.1:7071")) == ["ipv4:127.0.0.1:7071"]
