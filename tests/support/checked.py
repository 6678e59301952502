"""Calls whose answers are compared with the eager module; what came of each is counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import httpx
import numpy as np
import numpy.typing as npt

from support.oip import infer_request, inference_stub, rows_of
from support.truth import IMAGES, MODEL, is_right

Figures = Callable[[str, object], None]
"""pytest's record_property: what a test measures, for --junitxml."""
CALL_SECONDS = 120.0
UNLIMITED = ("grpc.max_receive_message_length", -1)
OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)


@dataclass
class Checked:
    """Callers of one gateway over one channel.

    outcomes: gRPC's code of each call that has ended, `OK` for one that was answered. wrong: answers that the
    eager module of the version that answered does not give. errors: the refusals, as they came.
    """

    channel: grpc.aio.Channel
    outcomes: Counter[str] = field(default_factory=Counter)
    versions: set[str] = field(default_factory=set)
    errors: list[grpc.aio.AioRpcError] = field(default_factory=list)
    wrong: int = 0

    async def call(
        self,
        chosen: npt.ArrayLike = (0,),
        *,
        model: str = MODEL,
        timeout_seconds: float = CALL_SECONDS,
    ) -> str:
        """Ask for the images of these numbers; returns what came of it."""
        at = np.asarray(chosen)
        request = infer_request(IMAGES[at].reshape(-1, 784), model=model)
        try:
            reply = await inference_stub(self.channel).ModelInfer(request, timeout=timeout_seconds)
        except grpc.aio.AioRpcError as error:
            self.errors.append(error)
            return self._ended(error.code().name)
        except asyncio.CancelledError:
            self._ended("CANCELLED")
            raise
        self.versions.add(reply.model_version)
        self.wrong += not is_right(rows_of(reply), reply.model_version, at)
        return self._ended("OK")

    async def call_until(
        self,
        ended: asyncio.Event,
        *,
        rows: int = 1,
        model: str = MODEL,
        timeout_seconds: float = CALL_SECONDS,
    ) -> None:
        """One call after the other, each of other images, until the event; refusals pause for a moment."""
        turn = 0
        while not ended.is_set():
            turn += 1
            chosen = [(turn + row) % len(IMAGES) for row in range(rows)]
            if await self.call(chosen, model=model, timeout_seconds=timeout_seconds) != "OK":
                await asyncio.sleep(0.01)

    def _ended(self, outcome: str) -> str:
        self.outcomes[outcome] += 1
        return outcome


@asynccontextmanager
async def checked(address: str) -> AsyncIterator[Checked]:
    """Callers over a connection of their own."""
    async with grpc.aio.insecure_channel(address, [UNLIMITED, OWN_CONNECTION]) as channel:
        yield Checked(channel)


def web_of(url: str) -> httpx.AsyncClient:
    """A client of the gateway's HTTP, to be entered."""
    return httpx.AsyncClient(base_url=url, timeout=CALL_SECONDS)


async def ask_over_http(web: httpx.AsyncClient, chosen: npt.ArrayLike = (0,), *, model: str = MODEL) -> int:
    """The same as JSON; returns HTTP's status. Raises AssertionError for a wrong answer."""
    at = np.asarray(chosen)
    data = IMAGES[at].ravel().tolist()
    tensor = {"name": "image", "datatype": "FP32", "shape": [len(at), 784], "data": data}
    reply = await web.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]})
    if reply.status_code == httpx.codes.OK:
        answer = reply.json()
        rows = np.array(answer["outputs"][0]["data"], np.float32).reshape(len(at), -1)
        assert is_right(rows, answer["model_version"], at)
    return reply.status_code
