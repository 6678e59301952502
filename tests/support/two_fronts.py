"""The Python front and the native one over the same versions, and what they answer without what may differ."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict

from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.v1 import prediction_pb2 as ours
from support.anything import INFER, OURS, STREAM
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway

TIMES = re.compile(r"seqserve_(queue_ns|compute_ns|batch_size)")
REPLIES: dict[str, Any] = {
    INFER: pb.ModelInferResponse, STREAM: pb.ModelStreamInferResponse, f"{OURS}/Predict": ours.PredictResponse,
}  # fmt: skip


@dataclass(frozen=True)
class Front:
    """One gateway and a channel to it."""

    gateway: Gateway
    engine: FakeEngine
    channel: grpc.aio.Channel


@asynccontextmanager
async def two_fronts(folder: Path, **settings: Any) -> AsyncIterator[Sequence[Front]]:
    """The Python front and the native one, each over `tiny` versions 1 and 2."""
    archives = [make_archive(folder, version=version) for version in ("1", "2")]
    async with AsyncExitStack() as stack:
        fronts = []
        for name in ("python", "native"):
            engine = FakeEngine()
            starting = running_gateway(archives, engine, front=name, **settings)
            gateway = await stack.enter_async_context(starting)
            assert gateway.front.name == name
            address = f"127.0.0.1:{gateway.grpc_port}"
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            fronts.append(Front(gateway, engine, channel))
        yield fronts


def plain(path: str, reply: bytes) -> Any:
    """A reply that is an answer as plain values, without times and batches."""
    kind = REPLIES.get(path)
    if kind is None:
        return reply
    return without_times(MessageToDict(kind.FromString(reply), preserving_proto_field_name=True))


def without_times(document: Any) -> Any:
    """It, without what says how long a request took and with whom it was computed."""
    if isinstance(document, dict):
        kept = {
            key: value for key, value in document.items() if not TIMES.fullmatch(key) and key != "receipt"
        }
        return {key: without_times(value) for key, value in kept.items()}
    if isinstance(document, list):
        return [without_times(each) for each in document]
    return document


def trailing(metadata: Any) -> list[tuple[str, str | bytes]]:
    """Of a call, in the order of its keys."""
    return sorted((str(key), value) for key, value in metadata or ())
