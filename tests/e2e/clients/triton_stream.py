"""tritonclient's gRPC streams: `triton_stream.py grpc|grpc.aio ADDRESS FOLDER`. FOLDER: see support.digits."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np

from support.features import tell

MODEL = "digit_mlp"
IN_FLIGHT = 64
BAD = 3
WAIT_SECONDS = 60

Request = dict[str, Any]
# What one stream answers: a result or an error for each request, in the order of arrival.
Answers = list[tuple[Any, Any]]
Stream = Callable[[str, list[Request]], Awaitable[Answers]]


async def by_callback(address: str, requests: list[Request]) -> Answers:
    """start_stream, async_stream_infer, stop_stream."""
    module = import_module("tritonclient.grpc")
    answers: Queue[tuple[Any, Any]] = Queue()
    with module.InferenceServerClient(address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for request in requests:
            client.async_stream_infer(**request)
        arrived = [answers.get(timeout=WAIT_SECONDS) for _ in requests]
        client.stop_stream()
    return arrived


async def by_iterator(address: str, requests: list[Request]) -> Answers:
    """stream_infer of asyncio's client. The iterator ends with the stream."""
    module = import_module("tritonclient.grpc.aio")

    async def sent() -> AsyncIterator[Request]:
        for request in requests:
            yield request

    async with module.InferenceServerClient(address) as client:
        return [answer async for answer in client.stream_infer(sent())]


STREAMS: dict[str, Stream] = {"grpc": by_callback, "grpc.aio": by_iterator}


def request(values: Any, number: int, **options: Any) -> Request:
    """A request of one digit whose id is its number."""
    triton = import_module("tritonclient.grpc")
    tensor = triton.InferInput("image", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    return {"model_name": MODEL, "inputs": [tensor], "request_id": str(number), **options}


def by_id(answers: Answers) -> dict[str, Any]:
    """The rows of those that were answered."""
    return {
        result.get_response().id: result.as_numpy("probabilities")[0].tolist()
        for result, error in answers
        if error is None
    }


async def many(ask: Callable[[list[Request]], Awaitable[Answers]], rows: Any) -> Any:
    """64 digits in one stream without waiting for answers."""
    return by_id(await ask([request(rows[[number]], number) for number in range(IN_FLIGHT)]))


async def one_bad(ask: Callable[[list[Request]], Awaitable[Answers]], rows: Any) -> Any:
    """Eight requests, of which one has a shape that no digit has."""
    requests = [request(rows[[number]], number) for number in range(8)]
    requests[BAD] = request(np.zeros((1, 14, 56), np.float32), BAD)
    answers = await ask(requests)
    return {
        "answered": sorted(by_id(answers)),
        "errors": [error.message() for _, error in answers if error is not None],
    }


async def deadline(ask: Callable[[list[Request]], Awaitable[Answers]], rows: Any) -> Any:
    """A request whose microsecond is over among those that have time."""
    answers = await ask([request(rows[:1], 0, timeout=1), request(rows[:1], 1, timeout=60_000_000)])
    return {
        "answered": sorted(by_id(answers)),
        "errors": [error.message() for _, error in answers if error is not None],
    }


async def main(kind: str, address: str, folder: str) -> None:
    """Use the streams of one of the clients."""
    rows = np.load(Path(folder) / "rows.npy")
    ask = partial(STREAMS[kind], address)
    features = {feature.__name__: partial(feature, ask, rows) for feature in (many, one_bad, deadline)}
    await tell(f"tritonclient.{kind} {version('tritonclient')}, streaming", features)


asyncio.run(main(*sys.argv[1:]))
