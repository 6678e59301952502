"""The HTTP port in this process, without a socket, and requests for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from seqserve.access.gate import Gate
from seqserve.http_api.app import build_app
from seqserve.http_api.limits import HttpLimits
from seqserve.metrics.counts import Metrics
from seqserve.metrics.relay import Relay
from seqserve.predictor import Predictor
from seqserve.repository.table import ModelControl, Repository
from seqserve.signature import Signature
from seqserve.statistics import Statistics
from seqserve.tracing import NoTracing
from support.archives import make_archive
from support.contract import signature_document
from support.engines import FakeEngine
from support.repositories import store_sync

LINE = Signature.parse(signature_document("line"))
LINE_GOLDEN = (np.full((1, 1), 0.5, np.float32), np.full((1, 1), 1.0, np.float32))
HEADER = "Inference-Header-Content-Length"
INFER = "/v2/models/tiny/infer"
IMAGE = np.array([[0.0, 0.25, 0.5, 0.75, 1.0, 0.125]], np.float32)


@dataclass
class Port:
    """The application over `tiny` 1 and 2 (images of 2x3, batches of at most 4) and `line` 1."""

    engine: FakeEngine = field(default_factory=FakeEngine)
    limits: HttpLimits = field(default_factory=lambda: HttpLimits(2**20, 30.0))
    control: ModelControl | None = None
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    repository: Repository = field(default_factory=Repository)
    gate: Gate = field(default_factory=Gate)

    async def app(self, folder: Path) -> Starlette:
        """Loaded from archives that are made in the folder."""
        archives = [make_archive(folder), make_archive(folder, version="2")]
        archives.append(make_archive(folder, "line", signature=LINE, golden=LINE_GOLDEN))
        statistics = Statistics()
        sync = store_sync(self.repository, lambda: archives, self.engine, observer_of=statistics.of)
        await sync.load_initially()
        self.engine.batches.clear()
        predictor = Predictor(self.repository, Metrics(self.registry), 8, 30.0)
        return build_app(
            predictor,
            statistics,
            self.registry,
            Relay(),
            limits=self.limits,
            tracing=NoTracing(),
            gate=self.gate,
            control=self.control,
        )

    async def client(self, folder: Path) -> httpx.AsyncClient:
        """A client of it."""
        transport = httpx.ASGITransport(await self.app(folder), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway")

    def counted(self, code: str, model: str = "tiny", version: str = "2") -> float | None:
        """Requests with that gRPC code."""
        labels = {"model": model, "version": version, "code": code}
        return self.registry.get_sample_value("seqserve_requests_total", labels)


def infer_document(rows: npt.ArrayLike = IMAGE, name: str = "image", **members: Any) -> dict[str, Any]:
    """FP32 as a flat array."""
    array = np.asarray(rows, np.float32)
    tensor = {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
    return {"inputs": [tensor], **members}


def binary(
    document: dict[str, Any], *contents: bytes, size: int | None = None
) -> tuple[bytes, dict[str, str]]:
    """A body with bytes behind its JSON, and its headers. size: claimed for the first input, if not its own."""
    for tensor, content in zip(document["inputs"], contents, strict=True):
        tensor.pop("data", None)
        tensor["parameters"] = {"binary_data_size": len(content) if size is None else size}
    head = json.dumps(document).encode()
    return head + b"".join(contents), {HEADER: str(len(head))}


def answers_of(reply: httpx.Response) -> npt.NDArray[np.float32]:
    """The one output's values, from JSON or from behind it."""
    length = int(reply.headers.get(HEADER, len(reply.content)))
    (output,) = json.loads(reply.content[:length])["outputs"]
    assert output["datatype"] == "FP32"
    values: Sequence[float] | npt.NDArray[np.float32]
    values = output["data"] if "data" in output else np.frombuffer(reply.content[length:], "<f4")
    return np.array(values, np.float32).reshape(output["shape"])
