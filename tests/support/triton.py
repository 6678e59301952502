"""tritonclient's four clients, called alike: gRPC and HTTP, synchronous and for asyncio.

They claim OIP's protobuf package, so only client programs import this, each in a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from support.features import refusal, settled

MODEL = "digit_mlp"
CONCURRENT = 64
WAIT_SECONDS = 60


class Caller:
    """One of the four clients, called alike."""

    def __init__(self, kind: str, address: str, folder: Path, **client_options: Any) -> None:
        self.kind = kind
        self.is_grpc = kind.startswith("grpc")
        self.module = import_module(f"tritonclient.{kind}")
        options = {"concurrency": CONCURRENT} if kind == "http" else {}
        self.client = self.module.InferenceServerClient(address, **options, **client_options)
        self.rows = np.load(folder / "rows.npy")
        self.pixels = np.load(folder / "pixels.npy")
        self.pictures = [(folder / f"{number}.png").read_bytes() for number in range(4)]

    async def ask(self, method: str, *arguments: str, **options: Any) -> Any:
        """Call a method of the client."""
        return await settled(getattr(self.client, method)(*arguments, **options))

    async def document(self, method: str, *arguments: str) -> Any:
        """The same with a reply that JSON takes."""
        return await self.ask(method, *arguments, **({"as_json": True} if self.is_grpc else {}))

    def tensor(self, values: Any, name: str = "image", **options: Any) -> Any:
        """An input of the client's kind."""
        made = self.module.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        made.set_data_from_numpy(values, **options)
        return made

    async def infer(self, values: Any, *, model: str = MODEL, name: str = "image", **options: Any) -> Any:
        """Send one input in raw or binary form."""
        return await settled(self.client.infer(model, [self.tensor(values, name)], **options))

    async def probabilities(self, values: Any, **options: Any) -> Any:
        """The rows of an answer."""
        return (await self.infer(values, **options)).as_numpy("probabilities").tolist()

    async def refused(self, call: Awaitable[Any]) -> dict[str, str]:
        """Status and message of the exception."""
        return await refusal(call, InferenceServerException, "status", "message")

    async def all_at_once(self) -> list[Any]:
        """Send 64 requests of one digit each; the results are in the order of the digits."""
        return await CONCURRENTLY[self.kind](self)


async def _by_callback(caller: Caller) -> list[Any]:
    answers: Queue[tuple[int, Any, Any]] = Queue()

    def keep(number: int, result: Any, error: Any) -> None:
        answers.put((number, result, error))

    for number in range(CONCURRENT):
        tensor = caller.tensor(caller.rows[number : number + 1])
        caller.client.async_infer(MODEL, [tensor], partial(keep, number))
    ordered = sorted((answers.get(timeout=WAIT_SECONDS) for _ in range(CONCURRENT)), key=lambda kept: kept[0])
    if errors := [error for _, _, error in ordered if error is not None]:
        raise errors[0]
    return [result for _, result, _ in ordered]


async def _by_greenlets(caller: Caller) -> list[Any]:
    waiting = [
        caller.client.async_infer(MODEL, [caller.tensor(caller.rows[number : number + 1])])
        for number in range(CONCURRENT)
    ]
    return [request.get_result(timeout=WAIT_SECONDS) for request in waiting]


async def _gathered(caller: Caller) -> list[Any]:
    return await asyncio.gather(
        *(caller.infer(caller.rows[number : number + 1]) for number in range(CONCURRENT))
    )


CONCURRENTLY: dict[str, Callable[[Caller], Awaitable[list[Any]]]] = {
    "grpc": _by_callback,
    "http": _by_greenlets,
    "grpc.aio": _gathered,
    "http.aio": _gathered,
}
