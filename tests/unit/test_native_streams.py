"""Messages of native streams that Python answers, over a server that is none."""

from __future__ import annotations

import asyncio
from typing import Any

from google.rpc import error_details_pb2, status_pb2

from seqserve.access.gate import Gate
from seqserve.errors import ModelNotFound
from seqserve.grpc_api.boundary import Boundary, Call, StreamMethod
from seqserve.grpc_api.oip import SERVICE
from seqserve.native_front.streams import NativeStreams
from seqserve.pb import inference_pb2 as pb
from seqserve.tracing import NoTracing
from support.access import Tokens, bearer
from support.native import NEVER, FakeCall, FakeDesk, settle

PATH = "/inference.GRPCInferenceService/ModelStreamInfer"
SECOND = 1_000_000_000


class World:
    """Streams whose messages are answered with what is known of them, unless their model is `missing`."""

    def __init__(self, gate: Gate | None = None) -> None:
        self.calls: list[Call] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.malformed = 0
        method = StreamMethod(self.answer, on_error=self.on_error, id_of=lambda request: request.id)
        boundary = Boundary(NoTracing(), self.count_malformed, 2**20, gate or Gate())
        boundary.handler(SERVICE, {}, {"ModelStreamInfer": method})
        self.streams = NativeStreams(boundary, NEVER)
        self.desk = FakeDesk(self.streams.news())

    async def answer(self, request: pb.ModelInferRequest, call: Call) -> pb.ModelStreamInferResponse:
        self.calls.append(call)
        await self.may_answer.wait()
        if request.model_name == "missing":
            raise ModelNotFound("missing")
        return pb.ModelStreamInferResponse(infer_response=pb.ModelInferResponse(id=request.id))

    def on_error(
        self, request: pb.ModelInferRequest | None, status: status_pb2.Status
    ) -> pb.ModelStreamInferResponse:
        reply = pb.ModelStreamInferResponse(error_message=status.message)
        reply.infer_response.id = request.id if request else ""
        return reply

    def count_malformed(self) -> None:
        self.malformed += 1

    def send(
        self, call: FakeCall, number: int, body: Any, metadata: Any = (), timeout_ns: int = NEVER
    ) -> None:
        if not isinstance(body, bytes):
            body = body.SerializeToString()
        self.desk.tell("streamed", call, PATH, metadata, timeout_ns, number, body)


def replies(call: FakeCall) -> dict[int, pb.ModelStreamInferResponse]:
    answers = [did[1:] for did in call.did if did[0] == "answer"]
    return {number: pb.ModelStreamInferResponse.FromString(body) for number, body in answers}


async def test_each_message_has_its_reply_under_its_number() -> None:
    world, call = World(), FakeCall(1)
    given = (("x-request-id", "order-7"),)
    world.send(call, 3, pb.ModelInferRequest(id="a"), given)
    world.send(call, 8, pb.ModelInferRequest(model_name="missing", id="b"), given)
    await settle()
    found = replies(call)
    assert found[3].infer_response.id == "a"
    assert "missing" in found[8].error_message
    assert found[8].infer_response.id == "b"
    assert [each.request_id for each in world.calls] == ["order-7.a", "order-7.b"]


async def test_a_message_without_an_id_goes_by_its_number() -> None:
    world, call = World(), FakeCall(1)
    world.send(call, 4, pb.ModelInferRequest(), (("x-request-id", "order-7"),), 60 * SECOND)
    await settle()
    assert world.calls[0].request_id == "order-7.4"
    assert 59 <= (world.calls[0].timeout_seconds or 0) <= 60


async def test_a_message_that_does_not_parse_is_refused_and_the_stream_goes_on() -> None:
    world, call = World(), FakeCall(1)
    world.send(call, 1, b"\xff\xff")
    world.send(call, 2, pb.ModelInferRequest(id="a"))
    await settle()
    assert "do not parse" in replies(call)[1].error_message
    assert replies(call)[2].infer_response.id == "a"
    assert world.malformed == 1


async def test_who_may_not_call_any_more_has_a_last_reply_and_the_status() -> None:
    tokens = Tokens()
    gate = Gate()
    gate.follow(tokens.clients())
    world, call = World(gate), FakeCall(1)
    world.send(call, 1, pb.ModelInferRequest(id="a"), bearer(tokens.of_scope["admin"]))
    await settle()
    [(kind, number, _), (end, code, words, trailing)] = call.did
    assert (kind, number, end, code) == ("answer", 1, "refuse", 7)
    assert "inference" in words
    details = status_pb2.Status.FromString(dict(trailing)["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert details.details[0].Unpack(info)
    assert info.metadata["request_id"] == dict(trailing)["x-request-id"]


async def test_a_stream_that_is_over_is_answered_no_more() -> None:
    world, call = World(), FakeCall(1)
    world.may_answer.clear()
    world.send(call, 1, pb.ModelInferRequest(id="a"))
    await settle()
    world.desk.tell("over", call.id, 1)
    world.may_answer.set()
    await settle()
    assert (call.did, len(world.streams)) == ([], 0)


async def test_closing_leaves_no_task_and_no_stream() -> None:
    world = World()
    world.may_answer.clear()
    before = len(asyncio.all_tasks())
    for number in range(3):
        world.send(FakeCall(number), 1, pb.ModelInferRequest())
    await settle()
    await world.streams.aclose()
    assert (len(asyncio.all_tasks()), len(world.streams)) == (before, 0)
