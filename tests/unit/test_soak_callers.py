"""What the soak makes of replies and errors, without a gateway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import httpx
import numpy as np
import pytest

from seqserve.pb import inference_pb2 as pb
from soak import callers
from soak.callers import STREAMED, World, again_and_again, deserter, streamer
from soak.run import GAUGES, left_over
from soak.tally import Tally
from support.truth import IMAGES, expected

Change = Callable[[list[pb.ModelStreamInferResponse]], Iterable[pb.ModelStreamInferResponse]]


def answer_to(request: pb.ModelInferRequest, images: dict[bytes, int]) -> pb.ModelStreamInferResponse:
    """The right one."""
    rows = np.frombuffer(request.raw_input_contents[0], "<f4").reshape(-1, 784)
    found = expected("1")[[images[row.tobytes()] for row in rows]]
    reply = pb.ModelStreamInferResponse()
    reply.infer_response.id, reply.infer_response.model_version = request.id, "1"
    reply.infer_response.outputs.add(name="probabilities", datatype="FP32", shape=found.shape)
    reply.infer_response.raw_output_contents.append(found.astype("<f4").tobytes())
    return reply


@dataclass
class Stub:
    """Answers a stream rightly, but for a change."""

    change: Change
    cancelled: bool = False
    replies: AsyncIterator[Any] = field(init=False)

    def ModelStreamInfer(self, requests: AsyncIterator[pb.ModelInferRequest], **_: object) -> Stub:  # noqa: N802 - gRPC's
        self.replies = self._replies(requests)
        return self

    async def _replies(self, requests: AsyncIterator[pb.ModelInferRequest]) -> AsyncIterator[Any]:
        images = {image.reshape(-1).astype("<f4").tobytes(): at for at, image in enumerate(IMAGES)}
        for reply in self.change([answer_to(request, images) async for request in requests]):
            yield reply

    def __aiter__(self) -> AsyncIterator[Any]:
        return self.replies

    async def read(self) -> object:
        return await anext(self.replies, object())

    def cancel(self) -> bool:
        self.cancelled = True
        return True


def world_of(monkeypatch: pytest.MonkeyPatch, change: Change = list) -> World:
    monkeypatch.setattr(callers, "inference_stub", lambda _: Stub(change))
    nobody = cast("Any", None)
    return World("", nobody, nobody, nobody, Tally())


def other_version(replies: list[pb.ModelStreamInferResponse]) -> list[pb.ModelStreamInferResponse]:
    replies[0].infer_response.model_version = "2"
    return replies


def refused(replies: list[pb.ModelStreamInferResponse]) -> list[pb.ModelStreamInferResponse]:
    replies[0].error_message = "no"
    return replies


async def test_a_stream_with_all_its_answers_is_as_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(monkeypatch)
    await streamer(world)
    assert world.tally.outcomes == {("stream", "OK"): STREAMED}
    assert not world.tally.wrong + world.tally.unexpected


async def test_a_stream_may_be_answered_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(monkeypatch, reversed)
    await streamer(world)
    assert not world.tally.wrong + world.tally.unexpected


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (lambda replies: replies[:5], "INCOMPLETE"),
        (lambda _: [], "INCOMPLETE"),
        (lambda replies: [*replies, replies[3]], "UNASKED"),
        (refused, "no"),
    ],
    ids=["five of twenty", "none", "one twice", "an error"],
)
async def test_a_stream_without_its_answers_is_told(
    monkeypatch: pytest.MonkeyPatch, change: Change, outcome: str
) -> None:
    world = world_of(monkeypatch, change)
    await streamer(world)
    assert world.tally.outcomes["stream", outcome] == 1
    assert world.tally.unexpected


@pytest.mark.parametrize("caller", [streamer, deserter])
async def test_a_wrong_answer_on_a_stream_is_told(
    monkeypatch: pytest.MonkeyPatch, caller: callers.Round
) -> None:
    world = world_of(monkeypatch, other_version)
    await caller(world)
    assert world.tally.wrong == 1


async def test_who_leaves_a_stream_has_had_right_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(monkeypatch)
    await deserter(world)
    assert world.tally.outcomes["deserter", "OK"] >= 1
    assert world.tally.outcomes["deserter", "CANCELLED"] == 1
    assert not world.tally.wrong + world.tally.unexpected


@pytest.mark.parametrize(("change", "outcome"), [(lambda _: [], "INCOMPLETE"), (refused, "no")])
async def test_who_leaves_a_stream_tells_what_did_not_come(
    monkeypatch: pytest.MonkeyPatch, change: Change, outcome: str
) -> None:
    world = world_of(monkeypatch, change)
    await deserter(world)
    assert world.tally.outcomes["deserter", outcome] == 1
    assert world.tally.unexpected


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ReadError("cut"), "ReadError"),
        (TimeoutError(), "TimeoutError"),
        (
            grpc.aio.AioRpcError(
                grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(), "oh", "oh"
            ),
            "INTERNAL",
        ),
    ],
)
async def test_what_a_caller_raises_is_an_outcome_and_he_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str
) -> None:
    world, enough = world_of(monkeypatch), asyncio.Event()

    async def failing(world: World) -> None:
        if world.tally.unexpected == 3:
            enough.set()
        raise error

    task = asyncio.create_task(again_and_again("painter", failing, 0, world))
    await enough.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert world.tally.outcomes["painter", outcome] >= 3
    assert world.tally.unexpected >= 3


async def test_a_gauge_that_is_not_shown_is_told() -> None:
    assert await left_over("http://127.0.0.1:1") == dict.fromkeys(GAUGES)
