"""What a gateway leaves open to strangers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from seqserve.exposure import NO_CALLER, NO_TLS, PLAIN_TORCHSERVE, Exposure, exposures
from seqserve.native_front.choice import Front
from seqserve.server import report_listening
from seqserve.settings import Settings

TLS = {"tls_key": Path("tls.key"), "tls_certificate": Path("tls.crt")}
CLIENTS = {"clients": {"me": {"token_sha256": ["0" * 64], "scopes": ["inference"]}}}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_nothing_is_open_on_this_machine_alone(host: str) -> None:
    assert exposures(Settings(host=host)) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])
@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, [NO_TLS, NO_CALLER]),
        (TLS, [NO_CALLER]),
        (CLIENTS, [NO_TLS]),
        (TLS | {"tls_client_ca": Path("ca.crt")}, []),
        (TLS | CLIENTS, []),
    ],
    ids=["nothing", "TLS", "tokens", "certificates of clients", "TLS and tokens"],
)
def test_what_is_open_to_other_machines(host: str, given: dict[str, Any], found: list[Exposure]) -> None:
    assert exposures(Settings.model_validate({"host": host} | given)) == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"engine": "torchserve"}, [PLAIN_TORCHSERVE]),
        ({"with_torchserve": True}, [PLAIN_TORCHSERVE]),
        ({"engine": "torchserve", "torchserve_host": "127.0.0.1"}, []),
        ({"engine": "torchserve", "torchserve_address": "10.0.0.5:7070"}, []),
        ({}, []),
    ],
    ids=["its own", "beside it", "on this machine alone", "that of others", "none"],
)
def test_a_torchserve_of_the_gateways_own_may_be_open_too(
    given: dict[str, Any], found: list[Exposure]
) -> None:
    assert exposures(Settings.model_validate({"torchserve_host": "0.0.0.0"} | given)) == found


@pytest.mark.parametrize(
    ("host", "warnings"), [("127.0.0.1", []), ("0.0.0.0", [NO_TLS, NO_CALLER])], ids=["loopback", "all"]
)
def test_the_log_of_serve_warns_of_it_at_the_start(host: str, warnings: list[Exposure]) -> None:
    with capture_logs() as logged:
        report_listening({"grpc": 8001, "http": 8000}, Settings(host=host), Front("python"))

    listening, *others = logged
    assert (listening["event"], listening["host"], listening["grpc_port"]) == ("listening", host, 8001)
    assert listening["front"] == "python"
    assert [Exposure(line["event"], line["hint"]) for line in others] == warnings
    assert {line["log_level"] for line in others} <= {"warning"}


def test_the_log_says_which_grpc_the_native_front_has_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    extension = SimpleNamespace(library_version=lambda: "1.51.1")
    monkeypatch.setattr("seqserve.native_front.library._extension", lambda: extension)
    with capture_logs() as logged:
        report_listening({"grpc": 8001}, Settings(), Front("native"))
        report_listening({"grpc": 8001}, Settings(), Front("python"))
    assert [line.get("grpc_library") for line in logged] == ["1.51.1", None]


def test_the_log_says_why_a_front_that_is_built_does_not_answer() -> None:
    with capture_logs() as logged:
        report_listening({"grpc": 8001}, Settings(), Front("python", "strangers"))
    assert [(line["event"], line.get("reason")) for line in logged[1:]] == [
        ("the native front is built and not used", "strangers")
    ]
