"""What an INTERNAL error tells a caller: that it is one, and an id. Nothing of paths, classes or other callers.

The peers' class: error text that leaks internals (CVE-2025-23320, Triton: the name of its shared memory).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_reflection.v1alpha._base import BaseReflectionServicer
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from structlog.testing import capture_logs

from seqserve.gateway import Gateway
from seqserve.grpc_api.health_statuses import Statuses
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.v1 import prediction_pb2
from seqserve.repository.table import Repository
from support.engines import FakeEngine
from support.oip import infer_request, inference_stub, prediction_stub
from support.rest import INFER, binary, infer_document

GOOD = np.full((1, 2, 3), 0.25, np.float32)
SECRET = "hunter2"  # noqa: S105 - to be found nowhere
TALE = f"CUDA error at /srv/private/model.pt: password={SECRET}; torch.jit.Error\nTraceback (most recent call last):"
TELLTALE = re.compile(
    rf"{SECRET}|/srv|traceback|cuda|torch\.|\.py\b|error at|keyerror|memoryerror|torchscripterror|0x[0-9a-f]",
    re.IGNORECASE,
)


class TorchScriptError(RuntimeError):
    """As an engine's library may have it."""


FAULTS = [
    TorchScriptError(TALE),
    KeyError(TALE),
    ExceptionGroup(TALE, [OSError(2, TALE, "/srv")]),
    MemoryError(TALE),
    RuntimeError("can't start new thread"),
]
INTERNAL = r"internal error; request id [0-9a-f]{32}"
WORDS = [INTERNAL, INTERNAL, INTERNAL, "no memory for this request", "no thread for this request"]
"""Of a refusal for each of them."""


def name(value: object) -> str:
    """Of a case."""
    return type(value).__name__ if isinstance(value, Exception) else ""


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as client:
        yield client


def own_request() -> prediction_pb2.PredictRequest:
    tensor = prediction_pb2.Tensor(datatype="FP32", shape=GOOD.shape, content=GOOD.tobytes())
    return prediction_pb2.PredictRequest(model="tiny", tensor=tensor, id="mine")


def all_of(error: grpc.aio.AioRpcError) -> str:
    """Everything that came, trailers and google.rpc details included."""
    return f"{error.details()} {error.trailing_metadata()!r} {error.initial_metadata()!r}"


@pytest.mark.parametrize(("fault", "words"), [*zip(FAULTS, WORDS, strict=True)], ids=name)
async def test_over_grpc_it_tells_nothing(
    channel: grpc.aio.Channel, engine: FakeEngine, fault: Exception, words: str
) -> None:
    engine.fault = fault
    calls: list[Callable[[], Any]] = [
        lambda: inference_stub(channel).ModelInfer(infer_request(GOOD)),
        lambda: prediction_stub(channel).Predict(own_request()),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call()

        assert re.fullmatch(words, refusal.value.details() or "")
        assert (refusal.value.code() is grpc.StatusCode.INTERNAL) == (words is INTERNAL)
        assert not TELLTALE.search(all_of(refusal.value))


async def test_in_streams_it_tells_nothing(channel: grpc.aio.Channel, engine: FakeEngine) -> None:
    engine.fault = FAULTS[0]
    open_protocol = inference_stub(channel).ModelStreamInfer(iter([infer_request(GOOD)]))
    own = prediction_stub(channel).PredictStream(iter([own_request()]))
    replies = [await anext(aiter(open_protocol)), await anext(aiter(own))]

    for reply in replies:
        assert "internal error; request id" in str(reply)
        assert not TELLTALE.search(str(reply))


@pytest.mark.parametrize(("fault", "words"), [*zip(FAULTS, WORDS, strict=True)], ids=name)
async def test_over_http_it_tells_nothing(
    http: httpx.AsyncClient, engine: FakeEngine, fault: Exception, words: str
) -> None:
    engine.fault = fault
    body, headers = binary(infer_document(), GOOD.tobytes())
    for reply in (
        await http.post(INFER, json=infer_document()),
        await http.post(INFER, content=body, headers=headers),
    ):
        assert reply.status_code == (500 if words is INTERNAL else 429)
        assert re.fullmatch(words, reply.json()["error"])
        assert reply.json().keys() - {"retry_after_seconds"} == {"error", "reason", "request_id"}
        assert not TELLTALE.search(f"{reply.text} {reply.headers}")


HEALTH = "/grpc.health.v1.Health"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


async def ended(call: Any) -> grpc.aio.AioRpcError:
    """How a call that reads replies until there are no more has been refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        async for _ in call:
            pass
    return refusal.value


@pytest.mark.parametrize("what", ["Check", "List", "Watch", "reflection"])
async def test_in_services_that_are_not_ours_it_tells_nothing(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fail(*_: object) -> None:
        raise FAULTS[0]

    for name in ("find", "all"):
        monkeypatch.setattr(Statuses, name, fail)
    monkeypatch.setattr(BaseReflectionServicer, "_list_services", fail)
    metadata = (("x-request-id", "mine"),)
    with capture_logs() as logged:
        if what == "reflection":
            asked = iter([ServerReflectionRequest(list_services="").SerializeToString()])
            error = await ended(channel.stream_stream(REFLECTION, None, None)(asked, metadata=metadata))
        elif what == "Watch":
            error = await ended(channel.unary_stream(f"{HEALTH}/Watch", None, None)(b"", metadata=metadata))
        else:
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await channel.unary_unary(f"{HEALTH}/{what}", None, None)(b"", metadata=metadata)
            error = refusal.value

    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error; request id mine")
    assert not TELLTALE.search(all_of(error))
    [line] = [line for line in logged if line["event"] == "call failed"]
    assert (line["request_id"], line["exc_info"]) == ("mine", FAULTS[0])


async def test_what_is_no_message_of_reflection_is_the_callers_fault(channel: grpc.aio.Channel) -> None:
    error = await ended(channel.stream_stream(REFLECTION, None, None)(iter([b"\xff\xff"])))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == (
        "message: 2 bytes that do not parse; accepted: a protobuf grpc.reflection.v1alpha.ServerReflectionRequest"
    )


@pytest.mark.parametrize("path", ["/readyz", "/v2/health/ready", "/metrics"])
async def test_a_fault_outside_of_models_tells_nothing_either(
    http: httpx.AsyncClient, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fail(*_: object) -> None:
        raise FAULTS[0]

    monkeypatch.setattr(Repository, "are_all_ready", fail)
    monkeypatch.setattr("seqserve.http_api.probes.repository_gauges", fail)
    reply = await http.get(path)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await inference_stub(channel).ServerReady(pb.ServerReadyRequest())
    monkeypatch.undo()

    assert reply.status_code == 500
    assert not TELLTALE.search(f"{reply.text} {reply.headers}")
    assert not TELLTALE.search(all_of(refusal.value))
