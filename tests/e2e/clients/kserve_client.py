"""KServe's client: `kserve_client.py grpc|rest ADDRESS FOLDER`. FOLDER: see support.digits."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from support.features import tell

MODEL = "digit_mlp"
CONCURRENT = 64
TIMEOUT_SECONDS = 60


class OverGrpc:
    """InferenceGRPCClient."""

    def __init__(self, address: str) -> None:
        self.client = InferenceGRPCClient(address)

    async def ask(self, method: str, *arguments: str) -> Any:
        """Call a method of the client."""
        return await getattr(self.client, method)(*arguments)

    async def infer(self, request: InferRequest, **options: Any) -> Any:
        """Send a request."""
        return await self.client.infer(request, **options)

    async def refused(self, call: Awaitable[Any]) -> dict[str, str]:
        """Status and words of the exception."""
        try:
            await call
        except grpc.aio.AioRpcError as refused:
            return {"status": refused.code().name, "message": refused.details() or ""}
        raise AssertionError("it was answered")


class OverRest:
    """InferenceRESTClient, which is told the address in each call."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=TIMEOUT_SECONDS, retries=0))

    async def ask(self, method: str, *arguments: str) -> Any:
        """Call a method of the client."""
        return await getattr(self.client, method)(self.address, *arguments)

    async def infer(self, request: InferRequest, **options: Any) -> Any:
        """Send a request."""
        return await self.client.infer(self.address, request, request.model_name, **options)

    async def refused(self, call: Awaitable[Any]) -> dict[str, str]:
        """Status and words of the exception."""
        try:
            await call
        except httpx.HTTPStatusError as refused:
            return {"status": str(refused.response.status_code), "message": str(refused)}
        raise AssertionError("it was answered")


class Caller:
    """One of the two clients with digits to send."""

    def __init__(self, kind: str, address: str, folder: Path) -> None:
        self.over = OverGrpc(address) if kind == "grpc" else OverRest(address)
        self.rows = np.load(folder / "rows.npy")
        self.pixels = np.load(folder / "pixels.npy")
        self.pictures = [(folder / f"{number}.png").read_bytes() for number in range(4)]

    async def infer(self, tensor: InferInput, *, model: str = MODEL, **options: Any) -> Any:
        """Send one input; options: of InferRequest."""
        return await self.over.infer(InferRequest(model, [tensor], **options))

    async def refused(self, call: Awaitable[Any]) -> dict[str, str]:
        """Status and words of the exception."""
        return await self.over.refused(call)


def raw(values: Any, datatype: str = "FP32", name: str = "image") -> InferInput:
    """Raw bytes; over REST the binary extension."""
    tensor = InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


def typed(values: Any, datatype: str = "FP32", name: str = "image") -> InferInput:
    """Typed contents; over REST numbers in the JSON."""
    tensor = InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=False)
    return tensor


def rows_of(reply: Any) -> Any:
    """The first output of an answer, as lists."""
    return reply.outputs[0].as_numpy().tolist()


async def readiness(caller: Caller) -> Any:
    """Of the server, of our models, and of one that is not there."""
    return {
        "live": await caller.over.ask("is_server_live"),
        "ready": await caller.over.ask("is_server_ready"),
        "models": {name: await caller.over.ask("is_model_ready", name) for name in (MODEL, "line", "nobody")},
    }


async def raw_rows(caller: Caller) -> Any:
    """Eight rows in raw or binary form."""
    return rows_of(await caller.infer(raw(caller.rows[:8])))


async def typed_rows(caller: Caller) -> Any:
    """Eight rows in typed form, and pixels."""
    return {
        "FP32": rows_of(await caller.infer(typed(caller.rows[:8]))),
        "UINT8": rows_of(await caller.infer(typed(caller.pixels[:8], "UINT8"))),
    }


async def pictures(caller: Caller) -> Any:
    """Four PNG files."""
    return rows_of(await caller.infer(raw(np.array(caller.pictures, np.object_), "BYTES")))


async def classification(caller: Caller) -> Any:
    """The best three of four digits."""
    outputs = [RequestedOutput("probabilities", {"classification": 3})]
    reply = await caller.infer(raw(caller.rows[:4]), request_outputs=outputs)
    rows = reply.outputs[0].as_numpy()
    return [
        [str(element, "utf-8") if isinstance(element, bytes) else element for element in row] for row in rows
    ]


async def receipt(caller: Caller) -> Any:
    """The names of the reply's parameters, and who answered."""
    reply = await caller.infer(raw(caller.rows[:1]), request_id="order 7, Zürich")
    return {
        "id": reply.id,
        "model": reply.model_name,
        "version": reply.model_version,
        "parameters": sorted(reply.parameters),
    }


async def deadline(caller: Caller) -> Any:
    """Triton's `timeout` in microseconds, too short and long enough."""
    return {
        "short": await caller.refused(caller.infer(raw(caller.rows[:8]), parameters={"timeout": 1})),
        "long": rows_of(await caller.infer(raw(caller.rows[:8]), parameters={"timeout": 60_000_000})),
    }


async def call_deadline(caller: Caller) -> Any:
    """With gRPC alone: the deadline of the call, with more digits than arrive within it."""
    many = InferRequest(MODEL, [raw(np.tile(caller.rows, (16, 1)))])
    request = InferRequest(MODEL, [raw(caller.rows[:8])])
    return {
        "short": await caller.refused(caller.over.infer(many, timeout=1e-6)),
        "long": rows_of(await caller.over.infer(request, timeout=TIMEOUT_SECONDS)),
    }


async def refusals(caller: Caller) -> Any:
    """Requests that are wrong, each in another way."""
    rows = caller.rows[:2]
    wrong = {
        "model": caller.infer(raw(rows), model="nobody"),
        "shape": caller.infer(raw(np.zeros((2, 14, 56), np.float32))),
        "range": caller.infer(typed(rows * 255)),
        "datatype": caller.infer(raw(rows.astype(np.float64), "FP64")),
        "input": caller.infer(raw(rows, name="picture")),
        "output": caller.infer(raw(rows), request_outputs=[RequestedOutput("logits")]),
    }
    return {name: await caller.refused(call) for name, call in wrong.items()}


async def concurrent(caller: Caller) -> Any:
    """64 requests at once, one digit each; the answers in the order of the digits."""
    replies = await asyncio.gather(
        *(caller.infer(raw(caller.rows[[number]])) for number in range(CONCURRENT))
    )
    return [rows_of(reply)[0] for reply in replies]


FEATURES = {
    feature.__name__: feature
    for feature in (
        readiness,
        raw_rows,
        typed_rows,
        pictures,
        classification,
        receipt,
        deadline,
        refusals,
        concurrent,
    )
}
OF_GRPC = {"call_deadline": call_deadline}


async def main(kind: str, address: str, folder: str) -> None:
    """Use every feature of one of the clients."""
    logging.disable(logging.CRITICAL)  # it logs each refusal with a traceback
    caller = Caller(kind, address, Path(folder))
    features = FEATURES | (OF_GRPC if kind == "grpc" else {})
    bound = {name: partial(feature, caller) for name, feature in features.items()}
    await tell(f"kserve {kind} {version('kserve')}", bound)
    await caller.over.client.close()


asyncio.run(main(*sys.argv[1:]))
