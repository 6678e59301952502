"""A gateway over a real TorchServe that is about to be hurt, and callers who notice everything."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.parser import text_string_to_metric_families

from seqserve.signature import Signature
from support import harmful_handler
from support.archives import TORCHSCRIPT, make_archive
from support.contract import signature_document
from support.oip import details_of, infer_request, inference_stub, rows_of
from support.running import until
from support.served import Served, started

LINE = Signature.parse(signature_document("line"))
GOLDEN = np.array([[0.5], [3.0]], np.float32), np.array([[1.0], [6.0]], np.float32)
HANDLER = Path(harmful_handler.__file__).read_text()
CALL_SECONDS = 30.0
TOKEN_PAUSE_SECONDS = 0.05
FAILED_PAUSE_SECONDS = 0.1  # before a caller who was refused comes again
MANY = httpx.Limits(max_connections=None)
STATUS = health_pb2.HealthCheckResponse.ServingStatus


def put_archive(
    folder: Path,
    name: str,
    version: str = "1",
    *,
    initialize_seconds: float = 0.0,
    torchscript: bytes = TORCHSCRIPT,
) -> None:
    """An archive in a store, whose handler is harmful_handler.py and takes so long to start.

    torchscript: what engines other than TorchServe run; it should double numbers too.
    """
    line = "INITIALIZE_SECONDS = 0.0"
    assert line in HANDLER
    handler = HANDLER.replace(line, f"INITIALIZE_SECONDS = {initialize_seconds}")
    members = {"handler.py": handler.encode(), f"{name}.pt": torchscript}
    make_archive(folder, name, version, signature=LINE, golden=GOLDEN, replace=members)


@dataclass(frozen=True)
class Outcome:
    """What came of one call.

    code: gRPC's, or WRONG where the answer was. began, ended: time.monotonic().
    reason, retry_seconds: of a refusal's ErrorInfo and RetryInfo, "" and 0.0 where there is none.
    """

    code: str
    began: float
    ended: float
    version: str = ""
    words: str = ""
    reason: str = ""
    retry_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """How long the caller waited."""
        return self.ended - self.began


@dataclass
class Faulty:
    """One gateway under test and its TorchServe, seen from outside.

    tokens: every token that was read. refused_tokens: how often one was renewed before it was used.
    """

    served: Served
    channel: grpc.aio.Channel
    tokens: set[str] = field(default_factory=set)
    refused_tokens: int = 0
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=30.0, limits=MANY))
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def ask(self, model: str, *numbers: float, version: str = "") -> Outcome:
        """One call with these numbers, or one that nobody else has sent; without retries."""
        rows = np.array(numbers or [next(self.numbers)], np.float32).reshape(-1, 1)
        request = infer_request(rows, model=model, version=version, name="x")
        began = time.monotonic()
        try:
            reply = await inference_stub(self.channel).ModelInfer(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            return _refusal(error, began)
        is_right = np.array_equal(rows_of(reply), 2 * rows)
        return Outcome("OK" if is_right else "WRONG", began, time.monotonic(), reply.model_version)

    @asynccontextmanager
    async def calling(self, model: str, callers: int) -> AsyncIterator[list[Outcome]]:
        """So many callers, each with one call at a time, for the length of the block; what came of each."""
        outcomes: list[Outcome] = []
        tasks = [asyncio.create_task(self._call(model, outcomes)) for _ in range(callers)]
        try:
            await until(lambda: len(outcomes) > 10 * callers)
            yield outcomes
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, model: str, outcomes: list[Outcome]) -> None:
        while True:
            outcomes.append(outcome := await self.ask(model))
            if outcome.code != "OK":
                await asyncio.sleep(FAILED_PAUSE_SECONDS)

    async def health(self, service: str) -> str:
        """The name of a health status now."""
        request = health_pb2.HealthCheckRequest(service=service)
        return str(STATUS.Name((await HealthStub(self.channel).Check(request)).status))

    @asynccontextmanager
    async def watching(self, service: str) -> AsyncIterator[list[str]]:
        """What health's Watch tells in the block, the status at its beginning included."""
        statuses: list[str] = []
        task = asyncio.create_task(self._watch(service, statuses))
        try:
            await until(lambda: statuses)
            yield statuses
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, service: str, statuses: list[str]) -> None:
        request = health_pb2.HealthCheckRequest(service=service)
        async for reply in HealthStub(self.channel).Watch(request):
            statuses.append(STATUS.Name(reply.status))  # noqa: PERF401 - others read it meanwhile

    async def metrics(self) -> dict[tuple[str, ...], float]:
        """Each sample by its name and the values of its labels, sorted by the labels' names."""
        page = (await self.http.get(f"{self.served.http}/metrics")).text
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

    async def until_ready(self, *versions: str) -> None:
        """Return when health says of each `name/version` that it serves."""
        for version in versions:
            async with asyncio.timeout(60):
                while await self.health(f"model/{version}") != "SERVING":  # noqa: ASYNC110 - see `until`
                    await asyncio.sleep(FAILED_PAUSE_SECONDS)

    @property
    def torchserve(self) -> dict[str, Any]:
        """What the log said last of its start."""
        return self.served.events()["torchserve started"]

    def keys(self) -> dict[str, Any]:
        """TorchServe's key file as it is now; TorchServe writes it in place, so it may be empty for a moment."""
        path = Path(self.torchserve["tokens"])
        while not (content := path.read_bytes()).endswith(b"}"):
            time.sleep(0.001)
        found: dict[str, Any] = json.loads(content)
        self.tokens.update(kind["key"] for kind in found.values())
        return found

    async def manage(self, method: str, path: str, **parameters: str | int) -> Any:
        """Somebody uses TorchServe's management API; the document it answers with."""
        url = f"{self.torchserve['management']}{path}"
        reply = await self._authorized("management", method, url, params=parameters)
        assert reply.is_success, reply.text
        return reply.json()

    async def post(self, model: str, number: float) -> httpx.Response:
        """Somebody uses TorchServe over HTTP."""
        url = f"{self.torchserve['http']}/predictions/{model}"
        return await self._authorized("inference", "POST", url, content=str(number).encode())

    async def _authorized(self, kind: str, method: str, url: str, **options: Any) -> httpx.Response:
        """Read the key file, ask, and do both again where the token has just been renewed."""
        while True:
            headers = {"Authorization": f"Bearer {self.keys()[kind]['key']}"}
            reply = await self.http.request(method, url, headers=headers, **options)
            if "Token Authorization failed" not in reply.text:
                return reply
            self.refused_tokens += 1
            await asyncio.sleep(TOKEN_PAUSE_SECONDS)

    async def worker(self, name: str, version: str = "1") -> int:
        """The process id of the one worker of a version."""
        [described] = await self.manage("GET", f"/models/{name}/{version}")
        [worker] = described["workers"]
        return int(worker["pid"])

    def descriptors(self) -> int:
        """How many files, pipes and sockets the gateway has open."""
        return len(os.listdir(f"/proc/{self.served.process.pid}/fd"))  # noqa: PTH208 - only their number

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Every line of the log with that event, oldest first."""
        lines = self.served.log.read_text().rpartition("\n")[0].splitlines()
        events = (json.loads(line) for line in lines if line.startswith("{"))
        return [logged for logged in events if logged["event"] == event]


def _refusal(error: grpc.aio.AioRpcError, began: float) -> Outcome:
    details = details_of(error)
    retry = details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() if "RetryInfo" in details else 0.0
    reason = details["ErrorInfo"].reason if "ErrorInfo" in details else ""
    return Outcome(error.code().name, began, time.monotonic(), "", error.details() or "", reason, retry)


@contextmanager
def starting(folder: Path, store: Path, *options: str) -> Iterator[Served]:
    """`seqserve serve` once its TorchServe is up; it must end well, and all that it started."""
    with started(folder, store, *options) as served:
        served.wait_for("torchserve started")
        yield served
        if served.process.poll() is None:
            assert served.end() == 0, served.log.read_text()


@asynccontextmanager
async def asked(served: Served, tokens: set[str] | None = None) -> AsyncIterator[Faulty]:
    """A gateway as it is seen from the event loop of a test. tokens: takes up all that are read."""
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(served.grpc, options=options) as channel:
        faulty = Faulty(served, channel, tokens if tokens is not None else set())
        async with faulty.http:
            yield faulty
