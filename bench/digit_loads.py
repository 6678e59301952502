"""The loads of digits: the same rows raw through the gateway, and raw, as JSON and one by one to TorchServe.

The rows are an archive's golden ones, over and over, so what must come back is known from the model as it
was before it was packed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import numpy as np

from bench.load import Ask, Load, WrongAnswer, grpc_asker, http_asker
from bench.messages import MODEL_INFER, Rows, golden_rows, infer_request, read_reply
from examples.demo.command import RunningGateway
from seqserve.engines.base import FloatArray
from seqserve.pb import torchserve_pb2

BATCH = 256
BATCH_CALLERS = (1, 2, 4)
SINGLE_CALLERS = (1, 16)
PREDICTIONS = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
CHANNEL_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@dataclass(frozen=True, slots=True)
class DigitLoads:
    """What is compared; each has several forms or numbers of callers, of which the fastest counts."""

    through_gateway: list[Load]
    raw: list[Load]
    as_json: list[Load]
    one_by_one: list[Load]


@asynccontextmanager
async def digit_loads(gateway: RunningGateway, archive: Path) -> AsyncIterator[DigitLoads]:
    """All loads, on one gRPC connection to each server and as many HTTP connections as callers."""
    batch, single = golden_rows(archive, BATCH), golden_rows(archive, 1)
    token = json.loads(gateway.tokens.read_text())["inference"]["key"]
    async with (
        grpc.aio.insecure_channel(gateway.grpc, options=CHANNEL_OPTIONS) as front,
        grpc.aio.insecure_channel(gateway.torchserve_grpc, options=CHANNEL_OPTIONS) as back,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
    ):
        http = _Http(session, f"{gateway.torchserve}/predictions/{batch.model}")
        yield DigitLoads(
            through_gateway=_loads("gateway, raw", batch, BATCH_CALLERS, _model_infer(front, batch)),
            raw=[
                *_loads("gRPC, raw", batch, BATCH_CALLERS, _predictions(back, token, batch)),
                *_loads("HTTP, raw", batch, BATCH_CALLERS, http.raw(batch)),
            ],
            as_json=_loads("HTTP, JSON", batch, BATCH_CALLERS, http.json(batch)),
            one_by_one=[
                *_loads("gRPC, one by one", single, SINGLE_CALLERS, _predictions(back, token, single)),
                *_loads("HTTP, one by one", single, SINGLE_CALLERS, http.raw(single)),
            ],
        )


Wire = tuple[Ask, Callable[[bytes], FloatArray]]
"""How to ask, and how to read the rows of a reply."""


def _loads(name: str, rows: Rows, callers: tuple[int, ...], wire: Wire) -> list[Load]:
    ask, read = wire
    return [
        Load(name, len(rows.inputs), count, ask, lambda reply: rows.check(read(reply))) for count in callers
    ]


def _model_infer(channel: grpc.aio.Channel, rows: Rows) -> Wire:
    """OIP with raw contents."""
    return grpc_asker(channel, MODEL_INFER, infer_request(rows)), read_reply


def _predictions(channel: grpc.aio.Channel, token: str, rows: Rows) -> Wire:
    """TorchServe's gRPC with the row that the archives' handler reads from the gateway."""
    row = {
        "data": rows.inputs.astype("<f4").tobytes(),
        "shape": np.asarray(rows.inputs.shape, "<i8").tobytes(),
        "datatype": b"FP32",
    }
    body = torchserve_pb2.PredictionsRequest(model_name=rows.model, input=row).SerializeToString()

    def read(reply: bytes) -> FloatArray:
        prediction = torchserve_pb2.PredictionResponse.FromString(reply).prediction
        if prediction[:1] != b"\0":
            raise WrongAnswer(f"TorchServe: {prediction[1:].decode(errors='replace')}")
        return np.frombuffer(prediction[1:], "<f4").reshape(rows.outputs.shape)

    return grpc_asker(channel, PREDICTIONS, body, {"authorization": f"Bearer {token}"}), read


@dataclass(frozen=True, slots=True)
class _Http:
    """TorchServe's HTTP inference of one model."""

    session: aiohttp.ClientSession
    url: str

    def raw(self, rows: Rows) -> Wire:
        """An octet-stream whose shape stands in a header."""
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Tensor-Datatype": "FP32",
            "X-Tensor-Shape": ",".join(map(str, rows.inputs.shape)),
        }
        body = rows.inputs.astype("<f4").tobytes()
        return http_asker(self.session, self.url, body, headers), _probabilities

    def json(self, rows: Rows) -> Wire:
        """Nested lists."""
        body = json.dumps({"instances": rows.inputs.tolist()}).encode()
        return http_asker(self.session, self.url, body, {"Content-Type": "application/json"}), _probabilities


def _probabilities(reply: bytes) -> FloatArray:
    """Rows [n, classes] of TorchServe's JSON."""
    predictions = json.loads(reply)["predictions"]
    return np.asarray([prediction["probabilities"] for prediction in predictions], np.float32)
