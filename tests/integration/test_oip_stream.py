"""ModelStreamInfer: replies in the order in which they are ready, errors as replies, the id on each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest

from seqserve.pb import inference_pb2 as pb
from support.engines import FakeEngine, expected_answers
from support.oip import infer_request, inference_stub, rows_of

IMAGES = np.random.default_rng(0).random((40, 1, 6), np.float32)


@pytest.fixture
async def stream(channel: grpc.aio.Channel) -> AsyncIterator[Any]:
    """An open ModelStreamInfer, for read and write."""
    call = inference_stub(channel).ModelStreamInfer()
    yield call
    call.cancel()


async def ask(stream: Any, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
    await stream.write(request)
    reply: pb.ModelStreamInferResponse = await stream.read()
    return reply


async def test_each_request_has_one_reply_with_its_id(stream: Any) -> None:
    for index, image in enumerate(IMAGES):
        await stream.write(infer_request(image, id=str(index)))
    await stream.done_writing()

    replies = {reply.infer_response.id: reply async for reply in stream}

    assert sorted(replies, key=int) == [str(index) for index in range(40)]
    for index, image in enumerate(IMAGES):
        reply = replies[str(index)]
        assert not reply.error_message
        rows = rows_of(reply.infer_response)
        np.testing.assert_array_equal(rows, expected_answers(image, rows.shape[1]))
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_reply_is_marked_as_the_final_one_and_carries_a_receipt(stream: Any) -> None:
    parameters = (await ask(stream, infer_request(IMAGES[0]))).infer_response.parameters

    assert parameters["triton_final_response"].bool_param
    assert parameters["seqserve_batch_size"].int64_param == 1


async def test_an_error_is_a_message_with_the_id_and_the_stream_goes_on(stream: Any) -> None:
    refused = await ask(stream, infer_request(IMAGES[0], model="nobody", id="a"))
    invalid = await ask(stream, infer_request([[7.0] * 6], id="b"))
    answered = await ask(stream, infer_request(IMAGES[0], id="c"))

    assert (refused.error_message, refused.infer_response.id) == (
        "model 'nobody' is not in the repository",
        "a",
    )
    assert "did you send 0 to 255?" in invalid.error_message
    assert invalid.infer_response.id == "b"
    assert not invalid.infer_response.outputs
    assert (answered.error_message, answered.infer_response.id) == ("", "c")


async def test_what_is_ready_first_is_answered_first(stream: Any, engine: FakeEngine) -> None:
    engine.hold()
    await stream.write(infer_request(IMAGES[0], id="slow"))
    refused = await ask(stream, infer_request(IMAGES[0], name="pixels", id="wrong"))
    engine.gate.set()
    answered = await stream.read()

    assert (refused.infer_response.id, bool(refused.error_message)) == ("wrong", True)
    assert (answered.infer_response.id, answered.error_message) == ("slow", "")


async def test_a_timeout_of_one_request_ends_that_request_alone(stream: Any, engine: FakeEngine) -> None:
    engine.hold()
    hasty = infer_request(IMAGES[0], id="hasty")
    hasty.parameters["timeout"].int64_param = 1000
    late = await ask(stream, hasty)
    engine.gate.set()
    answered = await ask(stream, infer_request(IMAGES[0], id="patient"))

    assert late.infer_response.id == "hasty"
    assert late.error_message
    assert (answered.infer_response.id, answered.error_message) == ("patient", "")


async def test_a_fault_inside_tells_nothing(stream: Any, engine: FakeEngine) -> None:
    engine.fault = RuntimeError("secret path")
    refused = await ask(stream, infer_request(IMAGES[0], id="a"))

    assert refused.error_message.startswith("internal error; request id ")
    assert refused.infer_response.id == "a"


async def test_what_is_no_protobuf_is_an_error_and_the_stream_goes_on(channel: grpc.aio.Channel) -> None:
    open_stream: Any = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer", None, None)
    call = open_stream()
    await call.write(b"\xff")
    refused = pb.ModelStreamInferResponse.FromString(await call.read())
    await call.write(infer_request(IMAGES[0], id="next").SerializeToString())
    answered = pb.ModelStreamInferResponse.FromString(await call.read())
    call.cancel()

    assert "a protobuf inference.ModelInferRequest" in refused.error_message
    assert (answered.error_message, answered.infer_response.id) == ("", "next")
