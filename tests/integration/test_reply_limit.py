"""Replies above the message limit: an error with its details for that request, and for no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2

from seqserve.gateway import Gateway
from seqserve.pb.v1 import prediction_pb2 as pb
from seqserve.signature import Signature
from support.archives import make_archive
from support.contract import signature_document
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import details_of, infer_request, inference_stub, prediction_stub, rows_of, words_of

LIMIT_BYTES, OUTPUTS = 100_000, 200
TOO_MANY = LIMIT_BYTES // (4 * OUTPUTS) + 1
WORDS = "the reply has more than 100000 bytes"
ANY_SIZE = [("grpc.max_receive_message_length", -1)]


@pytest.fixture
async def gateway(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    """`wide` makes many numbers of one."""
    line = Signature.parse(signature_document("line"))
    output = line.output.model_copy(update={"shape": [-1, OUTPUTS]})
    golden = (np.full((1, 1), 0.5, np.float32), np.full((1, OUTPUTS), 1 / OUTPUTS, np.float32))
    wide = make_archive(tmp_path, "wide", signature=line.model_copy(update={"output": output}), golden=golden)
    async with running_gateway([wide], engine, max_message_bytes=LIMIT_BYTES) as running:
        yield running


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    """A client without a limit: it is the gateway's that counts."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}", options=ANY_SIZE) as opened:
        yield opened


def ask(examples: int, identity: str = "") -> Any:
    return infer_request(np.full((examples, 1), 0.5), model="wide", name="x", id=identity)


def predict(examples: int, identity: str = "") -> pb.PredictRequest:
    content = np.full(examples, 0.5, "<f4").tobytes()
    return pb.PredictRequest(
        model="wide", tensor=pb.Tensor(datatype="FP32", shape=[examples, 1], content=content), id=identity
    )


async def test_a_reply_above_the_limit_is_refused_with_its_reason(
    gateway: Gateway, channel: grpc.aio.Channel
) -> None:
    for call, request in (
        (inference_stub(channel).ModelInfer, ask),
        (prediction_stub(channel).Predict, predict),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call(request(TOO_MANY))
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert words_of(refusal.value).startswith(WORDS)
        assert {name: detail.reason for name, detail in details_of(refusal.value).items()} == {
            "ErrorInfo": "MESSAGE_TOO_LARGE"  # and no RetryInfo: another try would end the same
        }
    assert rows_of(await inference_stub(channel).ModelInfer(ask(TOO_MANY - 2))).shape == (
        TOO_MANY - 2,
        OUTPUTS,
    )

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
        page = (await http.get("/metrics")).text
    assert 'seqserve_requests_total{code="OK",model="wide",version="1"} 3.0' in page


async def test_in_a_stream_it_is_an_error_of_its_request(channel: grpc.aio.Channel) -> None:
    stream: Any = prediction_stub(channel).PredictStream()
    for identity, examples in (("a", 1), ("b", TOO_MANY), ("c", 1)):
        await stream.write(predict(examples, identity))
    await stream.done_writing()
    replies = {reply.id: reply async for reply in stream}

    assert {name: reply.WhichOneof("result") for name, reply in replies.items()} == {
        "a": "response", "b": "error", "c": "response",
    }  # fmt: skip
    refused = replies["b"].error
    assert (refused.code, refused.message.startswith(WORDS)) == (code_pb2.RESOURCE_EXHAUSTED, True)
    assert reasons_of(refused.details) == ["MESSAGE_TOO_LARGE"]
    assert await stream.code() is grpc.StatusCode.OK


async def test_in_the_open_protocols_stream_as_well(channel: grpc.aio.Channel) -> None:
    stream: Any = inference_stub(channel).ModelStreamInfer()
    for identity, examples in (("a", 1), ("b", TOO_MANY), ("c", 1)):
        await stream.write(ask(examples, identity))
    await stream.done_writing()
    errors = {reply.infer_response.id: reply.error_message async for reply in stream}

    assert (errors["a"], errors["c"], errors["b"].startswith(WORDS)) == ("", "", True)


async def test_an_error_that_repeats_an_enormous_id_ends_no_stream(channel: grpc.aio.Channel) -> None:
    stream: Any = prediction_stub(channel).PredictStream()
    await stream.write(pb.PredictRequest(model="nobody", id="x" * (LIMIT_BYTES - 50)))
    refused = await stream.read()
    await stream.write(predict(1, "next"))
    answered = await stream.read()
    stream.cancel()

    assert (refused.id, refused.error.code) == ("", code_pb2.NOT_FOUND)
    assert answered.id == "next"


def reasons_of(details: Any) -> list[str]:
    """Of all the details, which must be ErrorInfo."""
    reasons = []
    for packed in details:
        info = error_details_pb2.ErrorInfo()
        assert packed.Unpack(info)
        reasons.append(info.reason)
    return reasons
