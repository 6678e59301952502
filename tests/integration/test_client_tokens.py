"""Our clients and commands with tokens, at a gateway that wants one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from PIL import Image

from seqserve.access.tokens import new_token, token_digest
from seqserve.client import ClientOverLimit, PermissionDenied, Tls, Unauthenticated, Unavailable
from seqserve.gateway import Gateway
from seqserve.grpc_api.health import SERVICE as HEALTH
from support.archives import make_archive
from support.asking import TWINS
from support.certificates import Authority
from support.command import Ended, seqserve
from support.engines import FakeEngine
from support.gateway import running_gateway

IMAGE = np.full((2, 3), 0.5, np.float32)
OLD, NEW, SCRAPER, HASTY, WRONG = (new_token() for _ in range(5))
CLIENTS = {
    "caller": {"token_sha256": [token_digest(token).hex() for token in (OLD, NEW)]},
    "scraper": {"token_sha256": [token_digest(SCRAPER).hex()], "scopes": ["metrics"]},
    "hasty": {"token_sha256": [token_digest(HASTY).hex()], "max_requests_per_second": 1e-3},
}


@pytest.fixture
async def gateway(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    """`tiny` 1, for callers with tokens."""
    async with running_gateway([make_archive(tmp_path)], engine, clients=CLIENTS) as running:
        yield running


@pytest.fixture
def address(gateway: Gateway) -> str:
    return f"127.0.0.1:{gateway.grpc_port}"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{NEW}\n")
    return path


async def command(address: str, *arguments: str) -> Ended:
    """In a thread of its own, since the gateway lives on this one's event loop."""
    return await asyncio.to_thread(seqserve, *arguments, "--address", address)


async def test_every_call_bears_the_token(twin: Any, address: str) -> None:
    async with twin(address, token=NEW) as client:
        assert await client.health("model/tiny")
        assert [model.name for model in await client.models()] == ["tiny"]
        assert (await client.model("tiny")).default_version == "1"
        assert (await client.predict(IMAGE, model="tiny")).version == "1"
        streamed = await client.stream([IMAGE, IMAGE], model="tiny")

    assert streamed.error is None
    assert [reply.result().version for reply in streamed.replies] == ["1", "1"]


async def test_a_token_for_this_machine_passes_no_proxy(
    twin: Any, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:9")

    async with twin(address, token=NEW, max_attempts=1) as client:
        assert await client.health()
    async with twin(address, max_attempts=1) as proxied:
        with pytest.raises(Unavailable):
            await proxied.health()


@pytest.mark.parametrize(
    ("token", "kind", "reason"),
    [
        (WRONG, Unauthenticated, "UNAUTHENTICATED"),
        (None, Unauthenticated, "UNAUTHENTICATED"),
        (SCRAPER, PermissionDenied, "PERMISSION_DENIED"),
    ],
    ids=["wrong", "none", "another scope"],
)
async def test_what_the_gateway_does_not_accept_is_raised_by_every_call(  # noqa: PLR0917 - fixtures and cases
    twin: Any, front: str, address: str, token: str | None, kind: Any, reason: str
) -> None:
    async with twin(address, token=token) as client:
        calls = (client.predict(IMAGE, model="tiny"), client.models(), client.model("tiny"), client.health())
        found: list[Any] = [*await asyncio.gather(*calls, return_exceptions=True)]
        # grpc.aio's client loses the status of a stream that ends while it still writes: docs/fronts.md.
        if front == "python" or twin is not TWINS["aio"]:
            found.append((await client.stream([IMAGE], model="tiny")).error)

    for error in found:
        assert type(error) is kind
        assert (error.code, error.reason) == (reason, reason)
        assert not error.is_unreachable
        assert str(token) not in str(error)


async def test_a_function_brings_the_token_that_holds_now(twin: Any, address: str) -> None:
    tokens = iter([OLD, NEW, WRONG, NEW])

    async with twin(address, token=lambda: next(tokens)) as client:
        assert await client.health()
        assert (await client.predict(IMAGE, model="tiny")).version == "1"
        with pytest.raises(Unauthenticated):
            await client.models()
        assert not (await client.stream([IMAGE], model="tiny")).error
    assert list(tokens) == []


async def test_a_client_over_its_limit_hears_when_and_is_not_tried_again(
    twin: Any, address: str, engine: FakeEngine
) -> None:
    async with twin(address, token=HASTY) as client:
        await client.predict(IMAGE, model="tiny")
        with pytest.raises(ClientOverLimit) as refused:
            await client.predict(IMAGE, model="tiny")
        streamed = await client.stream([IMAGE], model="tiny")

    assert refused.value.code == "RESOURCE_EXHAUSTED"
    assert refused.value.retry_after_seconds > 1
    [reply] = streamed.replies
    assert isinstance(reply.error, ClientOverLimit)


async def test_a_token_goes_over_tls(twin: Any, tmp_path: Path, engine: FakeEngine) -> None:
    authority = Authority.made()
    key, certificate = authority.issue().write(tmp_path)
    archives = [make_archive(tmp_path)]

    async with running_gateway(
        archives, engine, clients=CLIENTS, tls_key=key, tls_certificate=certificate
    ) as gateway:
        address = f"localhost:{gateway.grpc_port}"
        async with twin(address, token=NEW, tls=Tls(authority.pem)) as client:
            assert (await client.predict(IMAGE, model="tiny")).version == "1"


async def test_commands_take_the_token_from_a_file(address: str, token_file: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3), 255, np.uint8)).save(picture := tmp_path / "picture.png")
    file = ("--token-file", str(token_file))

    assert await command(address, "health", *file) == Ended(0, "SERVING\n", "")
    assert "tiny" in (await command(address, "models", *file)).output
    predicted = await command(address, "predict", str(picture), "--model", "tiny", *file)
    assert predicted == Ended(0, f"{picture}: dark (75.0%)\n", "")


async def test_commands_take_the_token_from_the_environment_unless_a_file_is_named(
    address: str, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQSERVE_TOKEN", OLD)
    assert (await command(address, "health")).status == 0
    monkeypatch.setenv("SEQSERVE_TOKEN", WRONG)
    assert (await command(address, "health")).status == 1
    monkeypatch.setenv("SEQSERVE_TOKEN_FILE", str(token_file))
    assert (await command(address, "health")).status == 0


@pytest.mark.parametrize("name", ["health", "models"])
async def test_a_token_that_is_not_accepted_is_one_line_without_it(
    address: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SEQSERVE_TOKEN", WRONG)

    ended = await command(address, name)

    assert ended.status == 1
    assert ended.one_line.startswith(f"seqserve: {address}: UNAUTHENTICATED: ")
    assert WRONG not in f"{ended}"  # nor in the gateway's log, which comes with its output here


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"\xff\xfe"])
def test_a_file_without_a_token_is_not_tried(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "token").write_bytes(content)

    ended = seqserve("health", "--token-file", str(path))

    assert (ended.status, ended.one_line) == (2, f"seqserve: {path}: holds no token")


def test_what_is_no_file_holds_no_token_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    ended = seqserve("health", "--token-file", str(path))
    assert (ended.status, ended.one_line) == (2, f"seqserve: {path}: it is not a regular file")

    (path := tmp_path / "large").write_bytes(b"x" * 20_000)
    ended = seqserve("health", "--token-file", str(path))
    assert (ended.status, ended.one_line) == (2, f"seqserve: {path}: it has more than 16384 bytes")


def test_a_token_that_is_mounted_as_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("two words")
    (path := tmp_path / "link").symlink_to("token")
    assert "holds no token" in seqserve("health", "--token-file", str(path)).one_line


def test_a_token_for_another_machine_is_not_tried_without_tls(token_file: Path) -> None:
    ended = seqserve("models", "--address", "gateway.example:8001", "--token-file", str(token_file))

    assert ended.status == 2
    assert ended.one_line == "seqserve: a token goes to gateway.example:8001 over TLS only (--tls)"


async def test_probes_of_another_machine_ask_without_the_token(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port for probes takes none, and everybody on the way could read it."""
    asked: list[dict[str, Any]] = []

    async def check(_: bytes, context: Any) -> Any:
        asked.append(dict(context.invocation_metadata()))
        return health_pb2.HealthCheckResponse(status=1).SerializeToString()

    server = grpc.aio.server()
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(HEALTH, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ended = []
    for address in (f"0.0.0.0:{port}", f"127.0.0.1:{port}"):  # the first is not this machine by its name
        for name, value in (("SEQSERVE_TOKEN", NEW), ("SEQSERVE_TOKEN_FILE", str(token_file))):
            monkeypatch.setenv(name, value)
            ended.append(await command(address, "health", "--no-tls"))
            monkeypatch.delenv(name)
    await server.stop(None)

    assert ended == [Ended(0, "SERVING\n", "")] * 4
    assert ["authorization" in metadata for metadata in asked] == [False, False, True, True]


@pytest.mark.parametrize("command_line", [("health",), ("models", "--no-tls")])
def test_nothing_else_leaves_the_token_out_by_itself(token_file: Path, command_line: tuple[str, ...]) -> None:
    ended = seqserve(*command_line, "--address", "gateway.example:8001", "--token-file", str(token_file))

    assert ended.status == 2
    assert "over TLS only" in ended.one_line


@pytest.mark.parametrize("option", ["--tls-certificate", "--tls-key"])
def test_a_certificate_without_its_key_is_wrong_usage(tmp_path: Path, option: str) -> None:
    (path := tmp_path / "own.pem").touch()

    ended = seqserve("health", option, str(path))

    assert ended.status == 2
    assert "--tls-certificate and --tls-key go together" in ended.one_line
