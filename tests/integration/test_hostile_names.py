"""Names, URLs and paths that a caller wrote: they find what is loaded, or nothing, and nobody fetches them.

The peers' classes: SSRF through model URLs (CVE-2023-43654, TorchServe's management API), configurations and
files uploaded with a Load (Triton), model names used as paths, and metric labels made by callers.
What a managed TorchServe is told about URLs: unit/test_torchserve_config.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.v1 import prediction_pb2
from support.archives import make_archive
from support.audit import audited
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub, prediction_stub, send_bytes
from support.rest import INFER, infer_document

GOOD = np.full((1, 2, 3), 0.25, np.float32)
REFUSALS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
PATHS = [
    "../../etc/passwd", "/etc/passwd", "..", ".", "tiny/../../../etc/passwd", "%2e%2e%2fetc%2fpasswd",
    "..\\..\\etc\\passwd", "tiny-1.mar", "./tiny", "tiny\0.mar", "file:///etc/passwd", "~root", "$HOME", "*", "n" * 20_000,
]  # fmt: skip
URLS = [
    "http://{trap}/m.mar",
    "https://{trap}/m.mar",
    "ftp://{trap}/m.mar",
    "//{trap}/m.mar",
    "s3://{trap}/m.mar",
    "http://169.254.169.254/latest/meta-data/",
]


@pytest.fixture
async def administered(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    """A gateway that loads and unloads for everybody who reaches it, on every port that can."""
    settings = {"admin_port": 0, "admin_on_inference_port": True}
    async with running_gateway([make_archive(tmp_path)], engine, **settings) as gateway:
        yield gateway


class Trap:
    """Listens; whoever follows a URL comes here."""

    def __init__(self, server: asyncio.Server) -> None:
        host, port = server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        self.came = 0


@pytest.fixture
async def trap() -> AsyncIterator[Trap]:
    def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.came += 1
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    made = Trap(server)
    yield made
    server.close()


def load_requests(url: str) -> Iterator[pb.RepositoryModelLoadRequest]:
    """A URL in every place where a Load could have one."""
    yield pb.RepositoryModelLoadRequest(model_name=url)
    yield pb.RepositoryModelLoadRequest(model_name="tiny", repository_name=url)
    for name in ("url", "config", "file:1/model.pt", "model_url", "handler", "s3_path"):
        request = pb.RepositoryModelLoadRequest(model_name="tiny")
        request.parameters[name].string_param = url
        yield request


@pytest.mark.parametrize("port", ["grpc", "admin"])
@pytest.mark.parametrize("url", URLS)
async def test_a_load_over_grpc_fetches_nothing(
    administered: Gateway, engine: FakeEngine, trap: Trap, port: str, url: str
) -> None:
    loads = list(engine.loads)
    number = administered.ports[port]  # type: ignore[index]  # a parameter is any string
    async with grpc.aio.insecure_channel(f"127.0.0.1:{number}") as channel:
        for request in load_requests(url.format(trap=trap.address)):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await inference_stub(channel).RepositoryModelLoad(request)

            assert refusal.value.code() in REFUSALS
    assert engine.loads == loads
    assert trap.came == 0


@pytest.mark.parametrize("url", URLS)
async def test_a_load_over_http_fetches_nothing(
    administered: Gateway, engine: FakeEngine, trap: Trap, url: str
) -> None:
    loads, url = list(engine.loads), url.format(trap=trap.address)
    base = f"http://127.0.0.1:{administered.http_port}"
    async with httpx.AsyncClient(base_url=base) as http:
        replies = [
            await http.post("/v2/repository/models/tiny/load", json={"parameters": {name: url}})
            for name in ("url", "config", "file:1/model.pt")
        ]
        replies.append(
            await http.post(f"/v2/repository/models/tiny/load?url={url}", json={"parameters": {"url": url}})
        )
        replies.append(await http.post(f"/models?url={url}"))  # as TorchServe's management API has it
        quoted = httpx.URL("/", params={"n": url}).query.decode().removeprefix("n=")
        replies.append(await http.post(f"/v2/repository/models/{quoted}/load"))

    assert {reply.status_code for reply in replies} <= {400, 404}
    assert engine.loads == loads
    assert trap.came == 0


@pytest.mark.parametrize("name", PATHS, ids=lambda name: ascii(name[:30]))
async def test_over_grpc_no_name_opens_a_file(administered: Gateway, name: str) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{administered.grpc_port}") as channel:
        stub, own = inference_stub(channel), prediction_stub(channel)
        await stub.ServerLive(pb.ServerLiveRequest())  # what a first call opens does not count
        calls: list[Callable[[], Any]] = [
            lambda: stub.ModelInfer(infer_request(GOOD, model=name)),
            lambda: stub.ModelInfer(infer_request(GOOD, version=name)),
            lambda: stub.ModelMetadata(pb.ModelMetadataRequest(name=name)),
            lambda: stub.ModelConfig(pb.ModelConfigRequest(name=name)),
            lambda: stub.ModelStatistics(pb.ModelStatisticsRequest(name=name)),
            lambda: own.GetModel(prediction_pb2.GetModelRequest(model=name)),
            lambda: stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name)),
            lambda: stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=name)),
        ]
        with audited() as watched:
            for call in calls:
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await call()
                assert refusal.value.code() in REFUSALS
            is_ready = await stub.ModelReady(pb.ModelReadyRequest(name=name))

    assert not is_ready.ready
    assert watched.opened == []
    assert watched.beside_files == []


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f%2e%2e%2fetc",
        "tiny%00.mar",
        "/etc/passwd",
        "..%5c..%5cetc",
        "%252e%252e%252f",
    ],
)
async def test_over_http_no_path_opens_a_file(administered: Gateway, name: str) -> None:
    """As raw as it is sent: client libraries would tidy it up."""
    async with httpx.AsyncClient() as http:
        await http.get(f"http://127.0.0.1:{administered.http_port}/healthz")
    targets = [
        f"GET /v2/models/{name}",
        f"GET /v2/models/{name}/ready",
        f"GET /v2/models/{name}/config",
        f"GET /v2/models/{name}/stats",
        f"GET /v2/models/tiny/versions/{name}",
        f"POST /v2/models/{name}/infer",
        f"POST /v2/models/tiny/versions/{name}/infer",
        f"POST /v2/repository/models/{name}/load",
        f"POST /v2/repository/models/{name}/unload",
        f"GET /{name}",
        f"POST /{name}",
    ]
    for target in targets:
        reader, writer = await asyncio.open_connection("127.0.0.1", administered.http_port)
        with audited() as watched:
            writer.write(
                f"{target} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            code = int((await reader.read()).split()[1])
        writer.close()

        assert code in {400, 404, 405}
        assert watched.events == []


async def series(http: httpx.AsyncClient) -> set[str]:
    """The metrics page's series, without what the interpreter and the process themselves add."""
    lines = (await http.get("/metrics")).text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if line.startswith("seqserve_")}


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.long)])
async def test_no_caller_makes_a_series(gateway: Gateway, channel: grpc.aio.Channel, count: int) -> None:
    """Metric labels made by callers: names, versions, methods, paths, request ids."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
        await knock(channel, http, "first")
        before = await series(http)
        for index in range(count):
            await knock(channel, http, f"{index}")
        after = await series(http)

    assert after == before


async def knock(channel: grpc.aio.Channel, http: httpx.AsyncClient, word: str) -> None:
    """Ask for what is not there, by names that nobody has used before."""
    stub = inference_stub(channel)
    metadata = (("x-request-id", word), (f"x-{word}", word))
    calls = [
        stub.ModelInfer(infer_request(GOOD, model=f"model-{word}"), metadata=metadata),
        stub.ModelInfer(infer_request(GOOD, version=f"version-{word}"), metadata=metadata),
        send_bytes(channel, f"/inference.GRPCInferenceService/Method{word}", b""),
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes)
    await http.post(f"/v2/models/model-{word}/infer", json=infer_document())
    await http.post(f"{INFER}-{word}", headers={"x-request-id": word, "user-agent": word})
    await http.request(f"M{word}", "/healthz")
