"""Who may call what, asked of a live gateway: every method and path with every kind of token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from seqserve.gateway import Gateway
from seqserve.grpc_api.scopes import SCOPES as SCOPES_BY_PATH
from seqserve.pb import inference_pb2
from seqserve.pb.v1 import prediction_pb2
from seqserve.ports import PortName
from support.access import SCOPES, Tokens, bearer, client_settings
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway, settings_for_tests
from support.oip import details_of, infer_request, inference_stub, prediction_stub, send_bytes, words_of
from support.rest import IMAGE, INFER, infer_document

FILES = (
    inference_pb2.DESCRIPTOR,
    prediction_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
    reflection_pb2.DESCRIPTOR,
)
PATHS = [
    f"/{service.full_name}/{method.name}"
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
]
SECONDS = 10.0  # for what takes milliseconds: a test must not hang
OK = ("let in", "")
UNAUTHENTICATED = "UNAUTHENTICATED"
DENIED = "PERMISSION_DENIED"


@dataclass
class World:
    """A gateway that administers on every port, and its clients."""

    gateway: Gateway
    tokens: Tokens
    engine: FakeEngine

    def channel(self, port: PortName = "grpc") -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.gateway.ports[port]}")

    def http(self, token: str = "") -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.gateway.http_port}", headers=headers, timeout=SECONDS
        )

    async def follow(self, **clients: Any) -> None:
        """The clients' sections now are these."""
        await self.gateway.apply(settings_for_tests(clients=clients))

    async def metrics(self) -> str:
        async with self.http(self.tokens.of_scope["metrics"]) as http:
            return (await http.get("/metrics")).text


@pytest.fixture
async def world(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[World]:
    tokens = Tokens()
    options = {"admin_on_inference_port": True, "admin_port": 0, "health_port": 0, "max_message_bytes": 2**20}
    async with running_gateway(
        [make_archive(tmp_path)], engine, clients=tokens.clients(), **options
    ) as running:
        yield World(running, tokens, engine)


def callers(tokens: Tokens) -> dict[str, tuple[tuple[str, str], ...]]:
    """The metadata of every kind of caller."""
    inference = tokens.of_scope["inference"]
    return {
        "nobody": (),
        "wrong": bearer(tokens.wrong),
        "basic": (("authorization", "Basic dXNlcjpwYXNz"),),
        "bare": (("authorization", inference),),
        "twice": bearer(inference) * 2,
        "elsewhere": (("x-api-key", inference), ("cookie", f"token={inference}")),
        **{scope: bearer(token) for scope, token in tokens.of_scope.items()},
    }


def expected(caller: str, needed: str) -> str:
    """What becomes of a call that needs a scope."""
    if caller == needed:
        return "let in"
    return DENIED if caller in SCOPES else UNAUTHENTICATED


async def outcome(channel: grpc.aio.Channel, path: str, metadata: Any) -> str:
    """Of a call with one empty message: refused by whom, or let in to whatever comes of it."""
    call: Any = channel.unary_stream(path, None, None)(b"", metadata=metadata, timeout=SECONDS)
    try:
        if await call.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs leave it out
            call.cancel()  # a watch would go on
            return "let in"
    except grpc.aio.AioRpcError:
        pass
    code: str = (await call.code()).name
    return code if code in (UNAUTHENTICATED, DENIED, "UNIMPLEMENTED") else "let in"


def test_every_method_there_is_has_a_scope() -> None:
    assert sorted(SCOPES_BY_PATH) == sorted(PATHS)


async def test_every_grpc_method_asks_for_its_scope(world: World) -> None:
    found, wanted = {}, {}
    async with world.channel() as channel:
        for path in PATHS:
            needed = "admin" if "/Repository" in path else "inference"
            for caller, metadata in callers(world.tokens).items():
                found[path, caller] = await outcome(channel, path, metadata)
                wanted[path, caller] = expected(caller, needed)

    assert found == wanted


async def test_everything_on_the_admin_port_asks_for_admin(world: World) -> None:
    found, wanted = {}, {}
    served = ("/Server", "/Repository")
    async with world.channel("admin") as channel:
        for path in PATHS:
            is_served = "GRPCInferenceService" in path and any(part in path for part in served)
            for caller, metadata in callers(world.tokens).items():
                found[path, caller] = await outcome(channel, path, metadata)
                wanted[path, caller] = expected(caller, "admin") if is_served else "UNIMPLEMENTED"

    assert found == wanted


async def test_the_health_port_is_open(world: World) -> None:
    async with world.channel("health") as channel:
        for path in PATHS:
            wanted = "let in" if "grpc.health" in path else "UNIMPLEMENTED"
            assert await outcome(channel, path, ()) == wanted


async def http_calls(world: World) -> dict[tuple[str, str], str]:
    """Every call of the HTTP port and the scope that it needs, "" for none."""
    async with world.http(world.tokens.of_scope["inference"]) as http:
        document = (await http.get("/openapi.json")).json()
    calls = {
        ("GET", "/healthz"): "", ("GET", "/readyz"): "", ("GET", "/metrics"): "metrics",
        ("GET", "/openapi.json"): "inference", ("GET", "/nowhere"): "inference",
        ("POST", "/metrics"): "inference", ("DELETE", "/v2/models/tiny"): "inference",
    }  # fmt: skip
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            needed = "admin" if "/repository/" in path else "" if "/health/" in path else "inference"
            assert operation["security"] == ([{"bearer": [needed]}] if needed else [])
            assert ({"401", "403"} <= operation["responses"].keys()) is bool(needed)
            # Not `tiny` for administrators: it would be unloaded.
            model = "nobody" if needed == "admin" else "tiny"
            calls[method.upper(), path.format(model=model, version="1")] = needed
    return calls


async def test_every_http_call_asks_for_its_scope(world: World) -> None:
    found, wanted = {}, {}
    async with world.http() as http:
        for (method, path), needed in (await http_calls(world)).items():
            for caller, headers in callers(world.tokens).items():
                reply = await http.request(method, path, headers=list(headers), content=b"{}")
                found[method, path, caller] = {401: UNAUTHENTICATED, 403: DENIED}.get(
                    reply.status_code, "let in"
                )
                wanted[method, path, caller] = expected(caller, needed) if needed else "let in"

    assert len(found) > 150
    assert found == wanted


@pytest.mark.parametrize(
    ("headers", "code", "reason", "challenge"),
    [
        ({}, 401, UNAUTHENTICATED, 'Bearer realm="seqserve"'),
        ({"authorization": "Basic dXNlcjpwYXNz"}, 401, UNAUTHENTICATED, 'Bearer realm="seqserve"'),
        ({"authorization": "Bearer nonsense"}, 401, UNAUTHENTICATED, 'Bearer realm="seqserve", error="invalid_token"'),
        ({"authorization": "metrics"}, 403, DENIED, 'Bearer realm="seqserve", error="insufficient_scope", scope="inference"'),
    ],
    ids=["nothing", "basic", "wrong", "other scope"],
)  # fmt: skip
async def test_a_refusal_says_what_to_come_with(
    world: World, headers: dict[str, str], code: int, reason: str, challenge: str
) -> None:
    scope = headers.get("authorization", "")
    token = next((token for known, token in world.tokens.of_scope.items() if known == scope), "")
    async with world.http(token) as http:
        reply = await http.post(
            INFER, json=infer_document(), headers={**({} if token else headers), "x-request-id": "r-1"}
        )

    assert (reply.status_code, reply.headers["www-authenticate"]) == (code, challenge)
    assert reply.headers["x-request-id"] == "r-1"
    assert reply.json().keys() == {"error", "reason", "request_id"}
    assert (reply.json()["reason"], reply.json()["request_id"]) == (reason, "r-1")


async def test_a_token_in_a_url_is_none(world: World) -> None:
    token = world.tokens.of_scope["inference"]
    port = world.gateway.http_port
    async with world.http() as http:
        for url in (
            f"/v2?access_token={token}",
            f"/v2?token={token}",
            f"http://{token}:x@127.0.0.1:{port}/v2",
        ):
            assert (await http.get(url)).status_code == 401


async def test_a_grpc_refusal_says_why_and_carries_the_request_id(world: World) -> None:
    async with world.channel() as channel:
        metadata = (*bearer(world.tokens.of_scope["metrics"]), ("x-request-id", "r-1"))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await inference_stub(channel).ModelInfer(infer_request(IMAGE), metadata=metadata)

    assert words_of(refusal.value) == "client metrics has no scope 'inference', which this needs"
    info = details_of(refusal.value)["ErrorInfo"]
    assert (info.reason, info.metadata["request_id"]) == (DENIED, "r-1")
    trailers: Any = refusal.value.trailing_metadata()  # the stubs take its pairs for objects
    assert ("x-request-id", "r-1") in list(trailers)


async def test_nothing_of_a_strangers_body_is_read_or_counted(world: World) -> None:
    large = b"\xff" * 2**21  # twice what a message may have, and no protobuf
    async with world.channel() as channel, world.http() as http:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await send_bytes(channel, "/inference.GRPCInferenceService/ModelInfer", large)
        replies = [await http.post(f"/v2/models/{name}/infer", content=b"{") for name in ("tiny", "nobody")]

    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
    first, second = ({**reply.json(), "request_id": ""} for reply in replies)
    assert first == second
    text = await world.metrics()
    assert not [
        line
        for line in text.splitlines()
        if line.startswith("seqserve_requests_total{") and not line.endswith(" 0.0")
    ]
    assert 'seqserve_access_refusals_total{client="unknown",reason="unauthenticated"} 3.0' in text


async def test_readiness_names_models_only_to_who_may_call_them(world: World) -> None:
    async with world.http() as http:
        for caller, headers in callers(world.tokens).items():
            reply = await http.get("/readyz", headers=list(headers))
            assert reply.status_code == 200
            assert reply.json()["ready"]
            assert ("models" in reply.json()) is (caller == "inference")
            assert ("tiny" in reply.text) is (caller == "inference")


async def test_tokens_change_while_the_gateway_serves(world: World) -> None:
    old, new = world.tokens.of_scope["inference"], Tokens().wrong
    async with world.channel() as channel:

        async def code(token: str) -> str:
            call = inference_stub(channel).ModelInfer(infer_request(IMAGE), metadata=bearer(token))
            return str((await call.code()).name)

        seen = []
        for tokens in ([old], [old, new], [new]):
            await world.follow(app=client_settings(*tokens))
            seen.append((await code(old), await code(new)))
        await world.follow()
        seen.append((await code(old), await code("")))

    nobody = (UNAUTHENTICATED, UNAUTHENTICATED)
    assert seen == [("OK", UNAUTHENTICATED), ("OK", "OK"), (UNAUTHENTICATED, "OK"), nobody]


def triton_request(number: int) -> inference_pb2.ModelInferRequest:
    return infer_request(IMAGE, id=str(number))


def our_request(number: int) -> prediction_pb2.PredictRequest:
    tensor = prediction_pb2.Tensor(datatype="FP32", shape=IMAGE.shape, content=IMAGE.tobytes())
    return prediction_pb2.PredictRequest(model="tiny", id=str(number), tensor=tensor)


def triton_told(reply: inference_pb2.ModelStreamInferResponse) -> tuple[str, str]:
    return reply.infer_response.id, reply.error_message


def our_told(reply: prediction_pb2.PredictStreamResponse) -> tuple[str, str]:
    return reply.id, reply.error.message


STREAMS = [
    pytest.param(
        lambda channel: inference_stub(channel).ModelStreamInfer, triton_request, triton_told, id="OIP"
    ),
    pytest.param(lambda channel: prediction_stub(channel).PredictStream, our_request, our_told, id="ours"),
]


async def ask(stream: Any, message: Any) -> Any:
    await stream.write(message)
    return await stream.read()


@pytest.mark.parametrize(("open_stream", "request_of", "told"), STREAMS)
@pytest.mark.parametrize("scopes", [None, ("admin",)], ids=["withdrawn", "without the scope"])
async def test_an_open_stream_ends_with_the_first_message_that_may_not_come(
    world: World, open_stream: Any, request_of: Any, told: Callable[[Any], tuple[str, str]], scopes: Any
) -> None:
    token = world.tokens.of_scope["inference"]
    async with world.channel() as channel:
        stream = open_stream(channel)(metadata=bearer(token), timeout=SECONDS)
        assert told(await ask(stream, request_of(1))) == ("1", "")
        others = {"other": client_settings(world.tokens.wrong)}
        await world.follow(**others, **({"app": client_settings(token, scopes=scopes)} if scopes else {}))
        message_id, words = told(await ask(stream, request_of(2)))
        with pytest.raises(grpc.aio.AioRpcError):
            await stream.read()
        code = await stream.code()

    assert message_id == "2"
    assert "scope 'inference'" in words if scopes else "not one that is accepted" in words
    assert code.name == (DENIED if scopes else UNAUTHENTICATED)
    assert await stream.details() == words


@pytest.mark.parametrize(("open_stream", "request_of", "told"), STREAMS)
async def test_a_message_over_the_limit_is_an_error_reply_and_the_stream_goes_on(
    world: World, open_stream: Any, request_of: Any, told: Callable[[Any], tuple[str, str]]
) -> None:
    token = world.tokens.of_scope["inference"]
    await world.follow(app=client_settings(token, max_requests_per_second=0.001))
    async with world.channel() as channel:
        stream = open_stream(channel)(metadata=bearer(token), timeout=SECONDS)
        replies = [told(await ask(stream, request_of(number))) for number in (1, 2)]
        await world.follow(app=client_settings(token))
        replies.append(told(await ask(stream, request_of(3))))
        await stream.done_writing()
        code = await stream.code()

    words = "this client sends more requests a second than it may"
    assert replies == [("1", ""), ("2", words), ("3", "")]
    assert code is grpc.StatusCode.OK


async def test_the_room_of_a_client_is_the_same_on_every_port(world: World) -> None:
    token, other = world.tokens.of_scope["inference"], world.tokens.wrong
    limited = client_settings(token, max_concurrent_requests=1)
    await world.follow(app=limited, other=client_settings(other))
    world.engine.hold()
    async with world.channel() as channel, world.http(token) as http:
        stub = inference_stub(channel)
        under_way = stub.ModelInfer(infer_request(IMAGE), metadata=bearer(token))
        async with asyncio.timeout(SECONDS):
            await world.engine.entered.wait()
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.ModelInfer(infer_request(IMAGE), metadata=bearer(token))
        reply = await http.post(INFER, json=infer_document())
        waiting = stub.ModelInfer(infer_request(IMAGE), metadata=bearer(other))
        metadata = await http.get("/v2/models/tiny")  # no inference
        world.engine.gate.set()
        await under_way
        await waiting
        assert (await http.post(INFER, json=infer_document())).status_code == 200

    assert metadata.status_code == 200
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = details_of(refusal.value)
    assert details["ErrorInfo"].reason == "CLIENT_OVER_LIMIT"
    assert details["RetryInfo"].retry_delay.seconds == 1
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    assert reply.json()["reason"] == "CLIENT_OVER_LIMIT"


async def test_the_time_to_wait_is_that_of_the_rate(world: World) -> None:
    token = world.tokens.of_scope["inference"]
    await world.follow(app=client_settings(token, max_requests_per_second=0.01))
    async with world.http(token) as http:
        replies = [await http.post(INFER, json=infer_document()) for _ in range(2)]

    assert [reply.status_code for reply in replies] == [200, 429]
    assert 90 < replies[1].json()["retry_after_seconds"] <= 100


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 404),
        ({"sec-fetch-site": "none"}, 404),
        ({"sec-fetch-site": "same-origin"}, 404),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "https://example.com"}, 403),
        ({"origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("needs_tokens", [True, False], ids=["with tokens", "without"])
async def test_a_web_page_administrates_nothing(
    tmp_path: Path, engine: FakeEngine, headers: dict[str, str], code: int, *, needs_tokens: bool
) -> None:
    tokens = Tokens()
    options = {"admin_on_inference_port": True, "clients": tokens.clients() if needs_tokens else {}}
    async with (
        running_gateway([make_archive(tmp_path)], engine, **options) as running,
        World(running, tokens, engine).http(tokens.of_scope["admin"]) as http,
    ):
        for verb in ("load", "unload"):
            reply = await http.post(f"/v2/repository/models/nobody/{verb}", headers=headers)
            assert reply.status_code == code
            assert "www-authenticate" not in reply.headers
        inference = await http.get("/v2", headers=headers)

    assert inference.status_code == (403 if needs_tokens else 200)  # of another scope, not a page's


async def test_nothing_of_a_token_is_told_to_anybody(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    told = []
    async with world.channel() as channel, world.http() as http:
        for metadata in callers(world.tokens).values():
            call = inference_stub(channel).ModelInfer(infer_request(IMAGE), metadata=metadata)
            told += [str(await call.details()), str(await call.trailing_metadata())]
            for path in ("/v2/models/tiny", "/v2/repository/index", "/metrics", "/nowhere"):
                reply = await http.get(path, headers=list(metadata))
                told += [reply.text, str(reply.headers)]
    await world.follow(**world.tokens.clients(max_concurrent_requests=3))
    told += [await world.metrics(), *capfd.readouterr()]

    assert any("call refused" in text for text in told)
    for secret in world.tokens.secrets:
        assert not any(secret in text for text in told)


async def test_clients_are_counted_by_their_names(world: World) -> None:
    token = world.tokens.of_scope["inference"]
    async with world.channel() as channel:
        await inference_stub(channel).ModelInfer(infer_request(IMAGE), metadata=bearer(token))
        for metadata in (bearer(world.tokens.of_scope["admin"]), bearer("nonsense")):
            await inference_stub(channel).ModelInfer(infer_request(IMAGE), metadata=metadata).code()

    text = await world.metrics()
    assert 'seqserve_client_requests_total{client="inference"} 1.0' in text
    assert 'seqserve_access_refusals_total{client="admin",reason="permission_denied"} 1.0' in text
    assert 'seqserve_access_refusals_total{client="unknown",reason="unauthenticated"} 1.0' in text


async def test_without_clients_nobody_needs_a_token(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    code = await inference_stub(channel).ModelInfer(infer_request(IMAGE), metadata=bearer("nonsense")).code()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
        codes = [
            (await http.get(path)).status_code for path in ("/metrics", "/openapi.json", "/v2/models/tiny")
        ]

    assert code is grpc.StatusCode.OK
    assert codes == [200, 200, 200]
