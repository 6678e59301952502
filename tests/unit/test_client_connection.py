"""How the client connects: whom it tells its token, and what it keeps to itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from seqserve.client import AsyncClient, Client, Tls
from seqserve.client.connection import Connection
from seqserve.client.tokens import is_loopback

TOKEN = "ssv_the-secret"  # noqa: S105 - made up
ELSEWHERE = "gateway.example:8001"


def connection(address: str = ELSEWHERE, **options: Any) -> Connection:
    usual: dict[str, Any] = {"token": TOKEN, "tls": True, "allow_plaintext_token": False}
    return Connection.checked(address, [], **(usual | options))


@pytest.mark.parametrize(
    ("address", "is_here"),
    [
        ("127.0.0.1:8001", True),
        ("127.8.8.8:1", True),
        ("localhost:8001", True),
        ("LOCALHOST:8001", True),
        ("[::1]:8001", True),
        ("10.0.0.5:8001", False),
        ("0.0.0.0:8001", False),
        ("[::]:8001", False),
        ("[2001:db8::1]:8001", False),
        ("localhost.example:8001", False),
        ("127.0.0.1.example:8001", False),
        ("127.0.0.1@gateway.example:8001", False),
        ("dns://10.0.0.5/localhost:8001", False),
        ("127.0.0.1:8001,10.0.0.5:8001", False),
        ("ipv4:127.0.0.1:8001,10.0.0.5:8001", False),
        ("127.0.0.1", False),
        ("::1:8001", False),  # the address ::1:8001, of nobody knows whom
        ("[::1:8001", False),
        ("::1]:8001", False),
        ("[localhost]:8001", False),
        ("[[::1]]:8001", False),
        ("", False),
    ],
)
def test_loopback_is_what_says_so_and_nothing_that_looks_like_it(address: str, *, is_here: bool) -> None:
    assert is_loopback(address) is is_here


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("token", [TOKEN, lambda: TOKEN], ids=["text", "function"])
async def test_a_token_goes_to_no_other_machine_unencrypted(kind: Any, token: Any) -> None:
    with pytest.raises(ValueError, match=r"it would go to gateway\.example:8001") as refused:
        kind(ELSEWHERE, token=token)

    assert "allow_plaintext_token=True" in str(refused.value)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "options"),
    [
        (ELSEWHERE, {"allow_plaintext_token": True, "tls": False}),
        (ELSEWHERE, {"tls": Tls(b"PEM")}),
        (ELSEWHERE, {}),
        ("127.0.0.1:8001", {"tls": False}),
    ],
    ids=["wished", "own CA", "TLS", "loopback"],
)
def test_a_token_goes_with_the_id_where_it_may(address: str, options: dict[str, Any]) -> None:
    metadata = connection(address, **options).metadata("order-7")

    assert metadata == (("x-request-id", "order-7"), ("authorization", f"Bearer {TOKEN}"))


def test_without_a_token_there_is_no_such_metadata() -> None:
    assert connection(token=None, tls=False).metadata("order-7") == (("x-request-id", "order-7"),)


def test_a_function_is_asked_for_each_call() -> None:
    tokens = iter(["ssv_old", "ssv_new"])
    rotating = connection(token=lambda: next(tokens))

    sent = [dict(rotating.metadata(name))["authorization"] for name in ("a", "b")]
    assert sent == ["Bearer ssv_old", "Bearer ssv_new"]


@pytest.mark.parametrize("text", ["", "ssv_x\n", "ssv_ x", "ssv_x\r\nadmin: 1", "ssv_\u00e4", "\x7f"])
def test_what_no_header_can_hold_is_no_token_and_is_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="token") as at_once:
        connection(token=text)
    with pytest.raises(ValueError, match="token") as at_the_call:
        connection(token=lambda: text).metadata("order-7")

    for refused in (at_once, at_the_call):
        assert "ssv_" not in str(refused.value)


def test_what_is_shown_of_a_connection_holds_no_secret() -> None:
    tls = Tls(certificate=b"CERT", key=b"the private key")
    shown = repr(connection(tls=tls))

    assert "gateway.example" in shown
    assert TOKEN not in shown
    assert "private" not in shown
    assert TOKEN not in repr(Client("127.0.0.1:8001", token=TOKEN))


@pytest.mark.parametrize("half", [{"certificate": b"PEM"}, {"key": b"PEM"}])
def test_a_certificate_and_its_key_go_together(half: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="go together"):
        Tls(**half)


async def test_a_file_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    gone = tmp_path / "ca.pem"

    for kind in (Client, AsyncClient):
        with pytest.raises(FileNotFoundError, match=f"ca{os.extsep}pem"):
            kind(ELSEWHERE, tls=Tls(ca=gone))


@pytest.mark.parametrize("part", ["ca", "key"])
def test_what_is_no_file_holds_no_certificate_and_is_not_waited_for(tmp_path: Path, part: str) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    tls = Tls(ca=path) if part == "ca" else Tls(certificate=b"PEM", key=path)
    with pytest.raises(OSError, match="it is not a regular file"):
        Client(ELSEWHERE, tls=tls)
