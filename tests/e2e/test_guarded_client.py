"""curl, and gRPC's health and reflection clients, at a gateway that wants a certificate and a token."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest

from support.clients import Told, ask, assert_rows_agree
from support.curl import Reply, curl, curl_version
from support.digits import Digits
from support.guarded import Guarded

INFER = "/v2/models/digit_mlp/infer"
CURL_UNTRUSTED = 60
CURL_HUNG_UP = {35, 52, 55, 56}  # as early, or as late, as this version of OpenSSL hears of it


class Ask(Protocol):
    """Fetches a path over HTTPS with curl, its own certificate and a token. who: the file with it, "" for none."""

    def __call__(self, path: str, *options: str | Path, who: str = "token") -> Reply: ...


@pytest.fixture
def by_curl(guarded: Guarded, tmp_path: Path, record_property: Any) -> Ask:
    record_property("client", f"{curl_version()}, TLS and tokens")
    own = certificate_options(guarded)

    def fetch(path: str, *options: str | Path, who: str = "token") -> Reply:
        bearer = ("--oauth2-bearer", guarded.token(who)) if who else ()
        return curl(tmp_path, f"https://{guarded.http}{path}", *own, *bearer, *options)

    return fetch


@pytest.fixture(scope="module")
def told(guarded: Guarded) -> Told:
    """What the health and the reflection client saw."""
    return ask("guarded.py", guarded.served.grpc, guarded.served.health, guarded.folder)


@pytest.fixture
def by_grpc(told: Told, record_property: Any) -> Told:
    record_property("client", told.client)
    return told


def certificate_options(guarded: Guarded, ca: str = "ca.crt") -> list[str | Path]:
    folder = guarded.folder
    return ["--cacert", folder / ca, "--cert", folder / "client.crt", "--key", folder / "client.key"]


def test_infer_json(by_curl: Ask, digits: Digits, tmp_path: Path) -> None:
    rows = digits.rows[:4]
    image = {"name": "image", "datatype": "FP32", "shape": rows.shape, "data": rows.ravel().tolist()}
    (tmp_path / "request.json").write_text(json.dumps({"inputs": [image]}))
    reply = by_curl(INFER, "--json", f"@{tmp_path / 'request.json'}")

    assert reply.status == 200, reply.body
    data = reply.document()["outputs"][0]["data"]
    assert_rows_agree([data[start : start + 10] for start in range(0, 40, 10)], digits.expected[:4])


@pytest.mark.parametrize("who", ["token.wrong", ""], ids=["wrong", "missing"])
def test_token_is_401(by_curl: Ask, who: str) -> None:
    reply = by_curl(INFER, "--json", "{}", who=who)

    assert reply.status == 401
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert "token" in reply.document()["error"]
    assert b"ssv_" not in reply.body


def test_token_of_another_scope_is_403(by_curl: Ask) -> None:
    assert by_curl(INFER, "--json", "{}", who="token.metrics").status == 403
    assert by_curl("/v2/repository/index", "--request", "POST").status == 403


def test_metrics_with_the_scope_for_them_alone(by_curl: Ask) -> None:
    assert b"seqserve_" in by_curl("/metrics", who="token.metrics").body
    assert by_curl("/metrics").status == 403


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"])
def test_probe_without_a_token(by_curl: Ask, path: str) -> None:
    reply = by_curl(path, who="")

    assert reply.status == 200
    assert b"digit_mlp" not in reply.body


def test_repository_index_and_load_with_the_scope_admin(by_curl: Ask) -> None:
    index = by_curl("/v2/repository/index", "--request", "POST", who="token.admin")
    load = by_curl("/v2/repository/models/digit_mlp/load", "--request", "POST", who="token.admin")

    assert "digit_mlp" in {model["name"] for model in index.document()}
    assert load.status == 200


@pytest.mark.usefixtures("by_curl")
def test_certificate_that_is_not_trusted(guarded: Guarded, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        curl(tmp_path, f"https://{guarded.http}/healthz", *certificate_options(guarded, "foreign.crt"))

    assert failed.value.returncode == CURL_UNTRUSTED


@pytest.mark.usefixtures("by_curl")
def test_no_certificate_of_its_own(guarded: Guarded, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        curl(tmp_path, f"https://{guarded.http}/healthz", "--cacert", guarded.folder / "ca.crt")

    assert failed.value.returncode in CURL_HUNG_UP


def test_health_by_certificate_and_token(by_grpc: Told) -> None:
    assert by_grpc["health, token"] == "SERVING"


def test_health_port_wants_neither(by_grpc: Told) -> None:
    assert by_grpc["health, health port"] == "SERVING"


def test_list_of_services_by_reflection(by_grpc: Told) -> None:
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(by_grpc["reflection, token"])


@pytest.mark.parametrize("question", ["health", "reflection"])
@pytest.mark.parametrize(
    ("caller", "code"),
    [
        ("wrong token", "UNAUTHENTICATED"),
        ("no token", "UNAUTHENTICATED"),
        ("token of another scope", "PERMISSION_DENIED"),
        ("no certificate", "UNAVAILABLE"),
        ("plaintext", "UNAVAILABLE"),
    ],
)
def test_code_of(by_grpc: Told, question: str, caller: str, code: str) -> None:
    assert by_grpc[f"{question}, {caller}"] == code
