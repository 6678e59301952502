"""tritonclient, unmodified, at a gateway that wants a client certificate and a token of everybody."""

from __future__ import annotations

from typing import Any

import pytest

from support.clients import Told, ask, assert_rows_agree
from support.digits import Digits
from support.guarded import Guarded

OVER_GRPC = ("grpc", "grpc.aio")
HTTP_STATUS = {"UNAUTHENTICATED": "401", "PERMISSION_DENIED": "403"}
# In the words of gRPC, OpenSSL, geventhttpclient and aiohttp. With TLS 1.3 a server hangs up when the client
# takes the handshake for done, and whether a reason is read before the end is a matter of chance.
UNTRUSTED = ("certificate_verify_failed", "failed to connect to all addresses")
HUNG_UP = (
    "certificate required", "certificate_required", "connection closed", "connection reset",
    "failed to connect to all addresses", "server disconnected",
)  # fmt: skip


@pytest.fixture(scope="module", params=[*OVER_GRPC, "http", "http.aio"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def told(kind: str, guarded: Guarded, digits: Digits) -> Told:
    """What one of the clients saw as each of its callers."""
    address = guarded.served.grpc if kind in OVER_GRPC else guarded.http
    return ask("triton_guarded.py", kind, address, digits.folder, guarded.folder)


@pytest.fixture(autouse=True)
def _row(told: Told, record_property: Any) -> None:
    record_property("client", told.client)


def assert_refused(refusal: dict[str, str], code: str, kind: str) -> None:
    assert refusal["status"] == (f"StatusCode.{code}" if kind in OVER_GRPC else HTTP_STATUS[code]), refusal
    assert refusal["message"]
    assert "ssv_" not in refusal["message"]
    assert "an exception occurred in the client" not in refusal["message"]


def test_infer_with_certificate_and_token(told: Told, digits: Digits) -> None:
    assert_rows_agree(told["infer"], digits.expected[:4])


@pytest.mark.parametrize("kind", OVER_GRPC, indirect=True, scope="module")
def test_stream_with_certificate_and_token(told: Told, digits: Digits) -> None:
    assert_rows_agree(told["stream"], digits.expected[:1])


def test_load_with_the_scope_for_it_alone(told: Told, kind: str) -> None:
    assert told["admin"] is True
    assert_refused(told["no admin"], "PERMISSION_DENIED", kind)


def test_token_of_another_scope_is_denied(told: Told, kind: str) -> None:
    assert_refused(told["no inference"], "PERMISSION_DENIED", kind)


def test_wrong_token_shows_its_code(told: Told, kind: str) -> None:
    assert_refused(told["wrong token"], "UNAUTHENTICATED", kind)


def test_missing_token_shows_its_code(told: Told, kind: str) -> None:
    assert_refused(told["no token"], "UNAUTHENTICATED", kind)


def test_liveness_is_open_to_nobody_over_grpc_and_to_all_over_http(told: Told, kind: str) -> None:
    assert told["liveness"] == ("StatusCode.UNAUTHENTICATED" if kind in OVER_GRPC else True)


def test_certificate_that_the_client_does_not_trust(told: Told) -> None:
    assert any(words in told["untrusted"].lower() for words in UNTRUSTED), told["untrusted"]


def test_client_without_a_certificate_is_hung_up_on(told: Told) -> None:
    assert any(words in told["no certificate"].lower() for words in HUNG_UP), told["no certificate"]
