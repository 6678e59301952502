"""Bidirectional streams: answers in the order in which they are ready, errors as replies, an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2
from grpc.aio import EOF  # type: ignore[attr-defined]  # the stubs leave it out
from structlog.testing import capture_logs

from seqserve.gateway import Gateway
from seqserve.grpc_api.streams import MAX_IN_FLIGHT
from seqserve.pb.v1 import prediction_pb2 as pb
from support.archives import make_archive
from support.engines import FakeEngine, expected_answers
from support.gateway import running_gateway
from support.oip import details_of, prediction_stub, words_of
from support.running import until

IMAGE = np.full((1, 6), 0.25, "<f4")
Replies = list[pb.PredictStreamResponse]


def message(identity: str, *, model: str = "tiny", image: Any = IMAGE) -> pb.PredictRequest:
    tensor = pb.Tensor(datatype="FP32", shape=[1, 6], content=np.asarray(image, "<f4").tobytes())
    return pb.PredictRequest(model=model, tensor=tensor, id=identity)


def detail(reply: pb.PredictStreamResponse, kind: type[Message]) -> Any:
    """One of the details of an error reply."""
    found = kind()
    assert any(packed.Unpack(found) for packed in reply.error.details)
    return found


def queued(gateway: Gateway) -> int:
    """How many examples wait for a batch."""
    return gateway.repository.resolve("tiny", "").batcher.queued_examples


@pytest.fixture
async def stream(channel: grpc.aio.Channel) -> AsyncIterator[Any]:
    """An open PredictStream, for read and write."""
    call = prediction_stub(channel).PredictStream(None, metadata=(("x-request-id", "order-7"),))
    yield call
    call.cancel()


async def send(stream: Any, *requests: pb.PredictRequest) -> None:
    for request in requests:
        await stream.write(request)


async def rest(stream: Any) -> Replies:
    """What comes until the stream ends. Raises AioRpcError where it does not end well."""
    replies: Replies = []
    await read_into(replies, stream)
    return replies


async def read_into(replies: Replies, stream: Any) -> None:
    """The same where what came before a bad end counts as well."""
    while (reply := await stream.read()) is not EOF:
        replies.append(reply)


async def test_each_message_gets_its_own_answer(stream: Any) -> None:
    images = np.random.default_rng(0).random((40, 6), np.float32)
    await send(stream, *(message(str(index), image=image) for index, image in enumerate(images)))
    await stream.done_writing()

    replies = {reply.id: reply.response for reply in await rest(stream)}

    assert sorted(replies, key=int) == [str(index) for index in range(40)]
    for index, image in enumerate(images):
        [answer] = replies[str(index)].predictions
        np.testing.assert_array_equal([answer.values], expected_answers([image], len(answer.values)))
    assert await stream.code() is grpc.StatusCode.OK


async def test_an_error_is_a_reply_and_overtakes_what_still_computes(stream: Any, engine: FakeEngine) -> None:
    engine.hold()
    await send(stream, message("slow"), message("wrong", model="nobody"))
    refused = await stream.read()
    engine.gate.set()
    answered = await stream.read()

    assert (refused.id, refused.error.code) == ("wrong", code_pb2.NOT_FOUND)
    assert "nobody" in refused.error.message
    assert (answered.id, answered.WhichOneof("result")) == ("slow", "response")


async def test_ids_are_the_streams_and_the_messages_own(stream: Any) -> None:
    await send(stream, message("a"))
    assert (await stream.read()).response.receipt.request_id == "order-7.a"
    await send(stream, message("not fit for a log"))
    answered = await stream.read()
    assert (answered.id, answered.response.receipt.request_id) == ("not fit for a log", "order-7.2")
    await send(stream, message("b", image=[7.0] * 6))
    refused = await stream.read()

    assert detail(refused, error_details_pb2.ErrorInfo).metadata["request_id"] == "order-7.b"
    assert detail(refused, error_details_pb2.BadRequest).field_violations[0].field == "image"
    await stream.done_writing()
    assert dict(await stream.trailing_metadata())["x-request-id"] == "order-7"


async def test_what_is_no_protobuf_is_an_error_reply_and_the_stream_goes_on(
    channel: grpc.aio.Channel,
) -> None:
    call: Any = channel.stream_stream("/seqserve.v1.PredictionService/PredictStream", None, None)(None)
    await call.write(b"\xff")
    refused = pb.PredictStreamResponse.FromString(await call.read())
    await call.write(message("next").SerializeToString())
    answered = pb.PredictStreamResponse.FromString(await call.read())
    call.cancel()

    assert (refused.id, refused.error.code) == ("", code_pb2.INVALID_ARGUMENT)
    assert detail(refused, error_details_pb2.ErrorInfo).reason == "MALFORMED_PROTOBUF"
    assert answered.id == "next"


async def test_a_fault_inside_tells_nothing_and_ends_no_stream(stream: Any, engine: FakeEngine) -> None:
    engine.fault = RuntimeError("secret")
    with capture_logs() as logged:
        await send(stream, message("a"))
        refused = await stream.read()
    engine.fault = None
    await send(stream, message("b"))

    assert (refused.error.code, refused.error.message) == (
        code_pb2.INTERNAL,
        "internal error; request id order-7.a",
    )
    assert (await stream.read()).WhichOneof("result") == "response"
    assert [event["exc_info"] for event in logged if event.get("request_id") == "order-7.a"]


async def occupy(engine: FakeEngine, stream: Any) -> None:
    """One message is being computed, alone, until the engine's gate is set."""
    engine.batches.clear()
    engine.hold()
    await send(stream, message("0"))
    await until(lambda: engine.batches == [1])


async def test_reading_stops_while_many_are_in_flight(
    stream: Any, gateway: Gateway, engine: FakeEngine, channel: grpc.aio.Channel
) -> None:
    await occupy(engine, stream)
    await send(stream, *(message(str(number)) for number in range(1, MAX_IN_FLIGHT + 44)))
    await stream.done_writing()
    in_the_engine = 1
    await until(lambda: queued(gateway) == MAX_IN_FLIGHT - in_the_engine)
    await prediction_stub(channel).ListModels(pb.ListModelsRequest())  # all that was sent has come by now

    assert queued(gateway) == MAX_IN_FLIGHT - in_the_engine
    engine.gate.set()
    assert len(await rest(stream)) == MAX_IN_FLIGHT + 44


async def test_a_caller_who_leaves_takes_along_what_is_in_flight(
    gateway: Gateway, engine: FakeEngine, channel: grpc.aio.Channel
) -> None:
    await prediction_stub(channel).Predict(message("first"))
    before = len(asyncio.all_tasks())
    stream: Any = prediction_stub(channel).PredictStream()
    await occupy(engine, stream)
    await send(stream, message("1"), message("2"))
    await until(lambda: queued(gateway) == 2)
    stream.cancel()
    await until(lambda: queued(gateway) == 0)
    engine.gate.set()
    await until(lambda: len(asyncio.all_tasks()) <= before)

    assert engine.batches == [1]


async def test_the_deadline_of_a_stream_is_that_of_its_messages(
    gateway: Gateway, engine: FakeEngine, channel: grpc.aio.Channel
) -> None:
    stream: Any = prediction_stub(channel).PredictStream(timeout=0.3)
    await occupy(engine, stream)
    await send(stream, message("second"))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await asyncio.wait_for(_drop_errors(stream), 20)
    await until(lambda: queued(gateway) == 0)
    engine.gate.set()

    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert engine.batches == [1]


async def _drop_errors(stream: Any) -> None:
    """Read to the end. A message's own deadline may pass just before the stream's."""
    for reply in await rest(stream):
        assert reply.error.code == code_pb2.DEADLINE_EXCEEDED


@pytest.mark.parametrize("in_flight", [0, 1, MAX_IN_FLIGHT])
async def test_a_drain_answers_what_is_in_flight_and_ends_the_stream(
    tmp_path: Path, engine: FakeEngine, in_flight: int
) -> None:
    async with (
        running_gateway([make_archive(tmp_path)], engine, drain_grace_seconds=30.0) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        stream: Any = prediction_stub(channel).PredictStream()
        await send(stream, message("before"))
        replies: Replies = [await stream.read()]
        engine.batches.clear()
        engine.hold()
        await send(stream, *(message(str(number)) for number in range(in_flight)))
        # All of them have come: they are in the engine, or wait for it.
        await until(lambda: sum(engine.batches) + queued(gateway) == in_flight)
        draining = asyncio.create_task(gateway.drain())
        engine.gate.set()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await read_into(replies, stream)
        async with asyncio.timeout(20):  # and not the whole grace period
            assert await draining

    assert {reply.id for reply in replies} == {"before", *map(str, range(in_flight))}
    assert all(reply.WhichOneof("result") == "response" for reply in replies)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in words_of(ended.value)
    assert details_of(ended.value)["ErrorInfo"].reason == "SHUTTING_DOWN"
    assert details_of(ended.value)["RetryInfo"].retry_delay.ToSeconds() == 1
