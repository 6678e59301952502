"""The doctor at the door of TorchServes that somebody else runs: names, connections, TLS, tokens."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from seqserve.doctor.addresses import check_servers, servers_of
from seqserve.doctor.finding import Finding
from seqserve.pb import torchserve_pb2, torchserve_pb2_grpc
from seqserve.settings_reading import read_settings

TOKEN = "abcd1234"  # noqa: S105 - it opens nothing


class Inference(torchserve_pb2_grpc.InferenceAPIsServiceServicer):
    """Answers who has the token."""

    def Ping(self, request: Any, context: Any) -> torchserve_pb2.TorchServeHealthResponse:  # noqa: N802 - gRPC's name
        if ("authorization", f"Bearer {TOKEN}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Token Authorization failed.")
        return torchserve_pb2.TorchServeHealthResponse(health="healthy")


@contextmanager
def torchserve(credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
    """The port of one that runs for the length of the block."""
    server = grpc.server(ThreadPoolExecutor(1))
    torchserve_pb2_grpc.add_InferenceAPIsServiceServicer_to_server(Inference(), server)  # type: ignore[no-untyped-call]  # generated
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@pytest.fixture(scope="module")
def plain() -> Iterator[int]:
    with torchserve() as port:
        yield port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that signs itself; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
            "-keyout", path.with_suffix(".key"), "-out", path,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def encrypted(certificate: Path) -> Iterator[int]:
    pair = certificate.with_suffix(".key").read_bytes(), certificate.read_bytes()
    with torchserve(grpc.ssl_server_credentials([pair])) as port:
        yield port


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def findings(address: str, **flags: Any) -> list[Finding]:
    return check_servers(
        servers_of(read_settings({"engine": "torchserve", "torchserve_address": address, **flags}))
    )


def fault_of(address: str, **flags: Any) -> Finding:
    [finding] = findings(address, **flags)
    assert finding.status == "fault", finding
    return finding


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_one_that_takes_the_token_is_fine_and_one_that_is_not_there_is_told_beside(
    plain: int, token_file: Path
) -> None:
    free = free_port()
    there, away = findings(f"localhost:{plain},127.0.0.1:{free}", torchserve_token_file=token_file)

    assert (there.status, there.found) == (
        "ok", f"localhost:{plain} answers without TLS and takes the token"
    )  # fmt: skip
    assert (away.status, away.found) == ("fault", f"127.0.0.1:{free}: no connection: Connection refused")


def test_a_name_that_does_not_resolve_is_told() -> None:
    finding = fault_of("nowhere.invalid:7070")

    assert "does not resolve" in finding.found
    assert "--torchserve-address" in finding.advice


@pytest.mark.parametrize("text", ["wrong", None])
def test_a_token_that_is_refused_is_told_and_not_shown(
    plain: int, token_file: Path, text: str | None
) -> None:
    flags = {} if text is None else {"torchserve_token_file": token_file}
    token_file.write_text(text or "")
    finding = fault_of(f"127.0.0.1:{plain}", **flags)

    assert "refuses the token, or wants one" in finding.found
    assert "--torchserve-token-file" in finding.advice
    assert "wrong" not in f"{finding}"


def test_a_token_file_that_cannot_be_read_is_told(plain: int, tmp_path: Path) -> None:
    finding = fault_of(f"127.0.0.1:{plain}", torchserve_token_file=tmp_path / "gone")

    assert str(tmp_path / "gone") in finding.found


def test_a_port_that_speaks_something_else_is_told() -> None:
    with socket.socket() as listener, ThreadPoolExecutor(1) as threads:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        answering = threads.submit(_answer_in_http, listener)
        finding = fault_of(f"127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
        answering.result()

    assert "gRPC says UNAVAILABLE" in finding.found
    assert "7070" in finding.advice


def _answer_in_http(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # it is closed
            return
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_tls_with_the_right_authority_is_fine(encrypted: int, certificate: Path, token_file: Path) -> None:
    flags = {"torchserve_tls": True, "torchserve_tls_ca": certificate, "torchserve_token_file": token_file}
    [finding] = findings(f"localhost:{encrypted}", **flags)

    assert (finding.status, finding.found) == (
        "ok", f"localhost:{encrypted} answers over TLS and takes the token"
    )  # fmt: skip


def test_a_certificate_that_nobody_known_has_signed_is_told(encrypted: int) -> None:
    finding = fault_of(f"localhost:{encrypted}", torchserve_tls=True)

    assert "its certificate is not accepted for localhost" in finding.found
    assert "--torchserve-tls-ca" in finding.advice


def test_a_certificate_for_another_name_is_told(encrypted: int, certificate: Path) -> None:
    finding = fault_of(f"127.0.0.1:{encrypted}", torchserve_tls=True, torchserve_tls_ca=certificate)

    assert "its certificate is not accepted for 127.0.0.1" in finding.found


def test_tls_where_none_is_spoken_is_told_and_the_other_way_round(plain: int, encrypted: int) -> None:
    without = fault_of(f"127.0.0.1:{plain}", torchserve_tls=True)
    unwanted = fault_of(f"127.0.0.1:{encrypted}")

    assert "TLS: " in without.found
    assert "Leave out --torchserve-tls" in without.advice
    assert "--torchserve-tls where it speaks TLS" in unwanted.advice


def test_an_authority_that_cannot_be_read_is_told(plain: int, tmp_path: Path) -> None:
    missing = {"torchserve_tls": True, "torchserve_tls_ca": tmp_path / "gone.pem"}

    assert "No such file" in fault_of(f"127.0.0.1:{plain}", **missing).found
