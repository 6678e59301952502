"""Both fronts under the same mishaps: a full queue, time that runs out, canaries; and what is counted of them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from seqserve.native_front import library
from seqserve.pb import inference_pb2 as pb
from seqserve.repository.routing import Routing
from support.anything import INFER, STREAM, Anything
from support.oip import details_of, infer_request, inference_stub
from support.two_fronts import Front, plain, trailing, two_fronts

pytestmark = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not())

ONE = np.full((1, 2, 3), 0.25, np.float32)
NUMBER = re.compile(r"\d+(\.\d+)?")
COUNTED = re.compile(
    r"^seqserve_(requests|batches|failed_batches|overdue_batches|dropped_examples|refused_examples)_total.*|"
    r"^seqserve_(request|queue|compute|encode|decode)_seconds_count.*|^seqserve_batch_examples_(count|sum).*|"
    r"^seqserve_(queued_examples|requests_in_flight).*",
    re.MULTILINE,
)
DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
SECONDS = 30.0
MISSING_SECONDS = 1.0
ROOM = 3
Fronts = Sequence[Front]


@pytest.fixture
async def fronts(tmp_path: Path) -> AsyncIterator[Fronts]:
    async with two_fronts(tmp_path, max_queue_size=ROOM, max_request_examples=ROOM) as both:
        yield both


async def told(front: Front, message: pb.ModelInferRequest, **options: Any) -> Any:
    """(code, words and details without numbers, keys of the trailing metadata) of a call; its reply where OK."""
    try:
        reply = await inference_stub(front.channel).ModelInfer(message, timeout=SECONDS, **options)
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    return "OK", plain(INFER, reply.SerializeToString())


def refusal_of(error: grpc.aio.AioRpcError) -> Any:
    details = {kind: without_numbers(str(one)) for kind, one in details_of(error).items()}
    keys = [key for key, _ in trailing(error.trailing_metadata())]
    return error.code().name, without_numbers(error.details() or ""), details, keys


def without_numbers(text: str) -> str:
    """Times differ, and ids that callers did not choose."""
    return NUMBER.sub("N", re.sub(r"[0-9a-f]{32}", "ID", text))


async def agreed(fronts: Fronts, message: pb.ModelInferRequest, **options: Any) -> Any:
    """What both fronts say to it."""
    python, native = [await told(front, message, **options) for front in fronts]
    assert native == python
    return python


async def counts_of(front: Front) -> dict[str, Any]:
    """Of /metrics and of ModelStatistics, once nothing is under way."""
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"http://127.0.0.1:{front.gateway.http_port}/metrics")).text
    statistics = await inference_stub(front.channel).ModelStatistics(pb.ModelStatisticsRequest(name="tiny"))
    return {"metrics": sorted(match[0] for match in COUNTED.finditer(text))} | {
        each.version: (
            each.inference_count,
            each.execution_count,
            {name: getattr(each.inference_stats, name).count for name in DURATIONS},
            [(batch.batch_size, batch.compute_infer.count) for batch in each.batch_stats],
        )
        for each in statistics.model_stats
    }


async def check_counts(fronts: Fronts) -> dict[str, Any]:
    """They are the same on both fronts."""
    python, native = [await counts_of(front) for front in fronts]
    assert native == python
    return python


@pytest.mark.parametrize("request_id", ["caller-1", "no good", "x" * 65, "", None])
async def test_ids_of_refusals(fronts: Fronts, request_id: str | None) -> None:
    metadata = () if request_id is None else (("x-request-id", request_id),)
    said = await agreed(fronts, infer_request(ONE, model="other"), metadata=metadata)
    is_kept = request_id == "caller-1"

    assert said[0] == "NOT_FOUND"
    assert ("caller-N" if is_kept else "ID") in said[2]["ErrorInfo"]
    assert said[3] == ["grpc-status-details-bin", "x-request-id"]


async def held(front: Front, count: int) -> list[asyncio.Task[Any]]:
    """The engine computes one request and does not end, and so many wait for it."""
    front.engine.hold()
    tasks = [asyncio.create_task(told(front, infer_request(ONE)))]
    await front.engine.entered.wait()
    tasks += [asyncio.create_task(told(front, infer_request(ONE))) for _ in range(count)]
    await until_waiting(front, count)
    return tasks


async def until_waiting(front: Front, count: int) -> None:
    wanted = f'seqserve_queued_examples{{model="tiny",version="2"}} {count}.0\n'
    async with asyncio.timeout(SECONDS), httpx.AsyncClient() as http:
        while wanted not in (await http.get(f"http://127.0.0.1:{front.gateway.http_port}/metrics")).text:
            pass


async def test_a_full_queue(fronts: Fronts) -> None:
    waiting = [task for front in fronts for task in await held(front, ROOM)]
    said = await agreed(fronts, infer_request(ONE))
    for front in fronts:
        front.engine.gate.set()

    assert said[0] == "RESOURCE_EXHAUSTED"
    assert set(said[2]) == {"ErrorInfo", "RetryInfo"}
    assert {outcome[0] for outcome in await asyncio.gather(*waiting)} == {"OK"}
    counted = await check_counts(fronts)
    assert any(line.startswith("seqserve_refused_examples_total") for line in counted["metrics"])


async def test_time_that_runs_out_in_the_queue(fronts: Fronts) -> None:
    waiting = [task for front in fronts for task in await held(front, 0)]
    hasty = infer_request(ONE)
    hasty.parameters["timeout"].int64_param = 50_000
    said = [await told(front, hasty) for front in fronts]
    for front in fronts:
        front.engine.gate.set()

    # Whether the queue or the call is the first to notice is chance, and each has words of its own.
    assert [(code, list(details), keys) for code, _, details, keys in said] == [
        ("DEADLINE_EXCEEDED", ["ErrorInfo"], ["grpc-status-details-bin", "x-request-id"])
    ] * 2
    assert {outcome[0] for outcome in await asyncio.gather(*waiting)} == {"OK"}
    counted = await check_counts(fronts)
    assert any(line.startswith("seqserve_dropped_examples_total") for line in counted["metrics"])


async def test_an_engine_that_fails_or_answers_nonsense(fronts: Fronts) -> None:
    for fault, wrong in ((RuntimeError("no"), None), (None, np.full((1, 2), np.nan, np.float32))):
        for front in fronts:
            front.engine.fault, front.engine.wrong = fault, wrong
        assert (await agreed(fronts, infer_request(ONE)))[0] == "INTERNAL"
    await check_counts(fronts)


@pytest.mark.parametrize("routing", [
    Routing(weights={"1": 1, "2": 1}), Routing(labels={"stable": "1"}), Routing(labels={"next": "2"}), Routing(),
])  # fmt: skip
async def test_weights_and_labels(fronts: Fronts, routing: Routing) -> None:
    for front in fronts:
        await front.gateway.repository.set_routing({"tiny": routing})
    met = set()
    for version in ("", "1", "stable", "next"):
        for number in range(10):
            said = await agreed(fronts, infer_request(ONE, version=version, id=f"order-{number}"))
            met.add(said[1]["model_version"] if said[0] == "OK" else said[0])

    assert "1" in met
    await check_counts(fronts)


def typed(datatype: str, **contents: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="tiny")
    request.inputs.add(name="image", datatype=datatype, shape=[1, 6])
    request.inputs[0].contents.CopyFrom(pb.InferTensorContents(**contents))
    return request


def classified(count: int) -> pb.ModelInferRequest:
    request = infer_request(ONE)
    request.outputs.add(name="probabilities").parameters["classification"].int64_param = count
    return request


def many_parameters(count: int) -> pb.ModelInferRequest:
    request = infer_request(ONE)
    for number in range(count):
        request.parameters[f"own-{number}"].int64_param = number
    return request


KINDS: dict[str, pb.ModelInferRequest] = {
    "FP32": typed("FP32", fp32_contents=[0.5] * 6), "UINT8": typed("UINT8", uint_contents=[0, 1, 2, 3, 4, 255]),
    "UINT8 too few": typed("UINT8", uint_contents=[7]), "INT64": typed("INT64", int64_contents=[0] * 6),
    "UINT8 too large": typed("UINT8", uint_contents=[256] * 6), "classes": classified(1),
    "all classes": classified(2), "no classes": classified(0), "parameters": many_parameters(32),
    "many parameters": many_parameters(33), "parameters without end": many_parameters(9000),
    "too many rows": infer_request(np.zeros((ROOM + 1, 6), np.float32)), "nothing": pb.ModelInferRequest(),
}  # fmt: skip


async def test_kinds_of_requests(fronts: Fronts) -> None:
    codes = [(await agreed(fronts, request))[0] for request in KINDS.values()]
    assert {"OK", "INVALID_ARGUMENT"} <= set(codes)
    await check_counts(fronts)


async def test_a_unary_call_without_a_message(fronts: Fronts) -> None:
    """grpc.aio waits for it until the caller's deadline, the native front's gRPC says at once that it is missing."""
    codes = []
    for front in fronts:
        call = front.channel.stream_unary(INFER, None, None)(iter(()), timeout=MISSING_SECONDS)
        codes.append((await call.code()).name)
        assert (await told(front, infer_request(ONE)))[0] == "OK"
    assert codes == ["DEADLINE_EXCEEDED", "INTERNAL"]


async def test_a_stream_with_errors(fronts: Fronts) -> None:
    requests = [infer_request(ONE, id="a"), infer_request(ONE, id="b", model="no"), *KINDS.values()]
    bodies = [*(one.SerializeToString() for one in requests), b"\xff", infer_request(ONE).SerializeToString()]
    python, native = [await answers_one_by_one(front, bodies) for front in fronts]
    assert native == python
    await check_counts(fronts)


async def answers_one_by_one(front: Front, bodies: Iterable[bytes]) -> list[Any]:
    """What comes for each message, and how the stream ends."""
    channel: Any = front.channel  # its types know no stream that is written to
    call = channel.stream_stream(STREAM, None, None)(timeout=SECONDS)
    replies = []
    for body in bodies:
        await call.write(body)
        reply = await call.read()
        if not isinstance(reply, bytes):  # the end
            break
        replies.append(without_numbers(json.dumps(plain(STREAM, reply), sort_keys=True)))
    await call.done_writing()
    return [*replies, await call.code()]


async def test_counts_after_anything(fronts: Fronts) -> None:
    anything = Anything(7)
    calls = [anything.unary() for _ in range(300)]
    for front in fronts:
        for asked in calls:
            call = front.channel.unary_unary(asked.path, None, None)(asked.body, timeout=SECONDS)
            await call.code()
    counted = await check_counts(fronts)
    assert any("INVALID_ARGUMENT" in line for line in counted["metrics"])
