"""A TorchServe that is played: its gRPC inference API and its key file. Its management has its own module."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from typing_extensions import override

from seqserve.archive import Archive, read_archive
from seqserve.engines.base import FloatArray
from seqserve.engines.timing import Time
from seqserve.pb import torchserve_pb2, torchserve_pb2_grpc
from seqserve.signature import Signature
from seqserve.trust import UNCHECKED
from support.archives import make_archive
from support.contract import signature_document
from support.engines import expected_answers

TINY = Signature.parse(signature_document("tiny_image"))
OUTPUTS = int(np.prod(TINY.output.example_shape))
BATCH = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, *TINY.input.example_shape)
ROWS = expected_answers(BATCH, OUTPUTS)
URL = "http://torchserve.test"


async def _no_sleep(_: float) -> None:
    """Time that passes at once."""


AT_ONCE = Time(sleep=_no_sleep)

Fault = tuple[grpc.StatusCode, str]
Key = tuple[str, str]


def archive(folder: Path, version: str = "1", name: str = "tiny") -> Archive:
    """A verified archive of that version."""
    return read_archive(make_archive(folder, name, version, signature=TINY), UNCHECKED)


def _after(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


class Keys:
    """The tokens that count now, and the file that tells them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers = {"inference": 1, "management": 1}
        self.expiry = dict.fromkeys(self.numbers, _after(3600.0))
        self.write()

    def renew(self, *kinds: str) -> None:
        """New tokens count from now on, for an hour; the file tells them after `write`."""
        for kind in kinds:
            self.numbers[kind] += 1
            self.expiry[kind] = _after(3600.0)

    def let_expire(self, seconds: float) -> None:
        """So much is left of both tokens."""
        self.expiry = dict.fromkeys(self.numbers, _after(seconds))
        self.write()

    def write(self) -> None:
        keys = {kind: {"key": self.of(kind), "expiration time": self.expiry[kind]} for kind in self.numbers}
        self.path.write_text(json.dumps(keys | {"API": {"key": "api"}}))

    def of(self, kind: str) -> str:
        return f"{kind}-{self.numbers[kind]}"


@dataclass
class FakeInference(torchserve_pb2_grpc.InferenceAPIsServiceServicer):
    """Answers as `support.engines.expected_answers`, with `reply` where that is set, or fails with `fault`.

    token: the one that is taken. is_faulty: which batches fail; the others do with `other_fault`. gate: batches that is_slow wait for it.
    """

    token: Callable[[], str] = lambda: ""
    reply: bytes | None = None
    fault: Fault | None = None
    is_faulty: Callable[[FloatArray], bool] = lambda _: True
    other_fault: Fault | None = None
    is_slow: Callable[[FloatArray], bool] = lambda _: True
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrivals: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    requests: list[torchserve_pb2.PredictionsRequest] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    pings: int = 0
    answered: int = 0
    cancelled: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    def __post_init__(self) -> None:
        self.gate.set()

    @override
    async def Ping(self, request: Any, context: Any) -> torchserve_pb2.TorchServeHealthResponse:
        await self._check(context)
        self.pings += 1
        return torchserve_pb2.TorchServeHealthResponse(health='{"status": "Healthy"}')

    @override
    async def Predictions(self, request: Any, context: Any) -> torchserve_pb2.PredictionResponse:
        await self._check(context)
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.arrivals.release()
        batch = np.frombuffer(request.input["data"], "<f4").reshape(-1, *TINY.input.example_shape)
        if self.is_slow(batch):
            await self._pass_gate()
        fault = self.fault if self.is_faulty(batch) else self.other_fault
        if fault is not None:
            await context.abort(*fault)
        self.answered += 1
        rows = b"\x00" + expected_answers(batch, OUTPUTS).tobytes()
        return torchserve_pb2.PredictionResponse(prediction=rows if self.reply is None else self.reply)

    async def _pass_gate(self) -> None:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.release()
            raise

    async def _check(self, context: Any) -> None:
        token = dict(context.invocation_metadata()).get("authorization", "")
        if token != (f"Bearer {self.token()}" if self.token() else ""):
            words = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, words)


@asynccontextmanager
async def serving(
    inference: FakeInference, credentials: grpc.ServerCredentials | None = None, port: int = 0
) -> AsyncIterator[int]:
    """The inference API on a port of the loopback address, for the length of the block."""
    server = grpc.aio.server()
    torchserve_pb2_grpc.add_InferenceAPIsServiceServicer_to_server(inference, server)  # type: ignore[no-untyped-call]
    address = f"127.0.0.1:{port}"
    if credentials is None:
        bound = server.add_insecure_port(address)
    else:
        bound = server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)
