"""Our own API: pictures and tensors, labels, receipts, the list of models."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from seqserve.pb.v1 import prediction_pb2 as pb
from seqserve.pb.v1.prediction_pb2_grpc import PredictionServiceStub
from seqserve.signature import Signature
from support.archives import make_archive
from support.contract import signature_document
from support.engines import FakeEngine, expected_answers
from support.gateway import running_gateway
from support.oip import details_of, prediction_stub, send_bytes, words_of

PIXELS = np.arange(6, dtype=np.uint8).reshape(2, 3) * 51


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> PredictionServiceStub:
    return prediction_stub(channel)


def images(*files: bytes, **fields: Any) -> pb.PredictRequest:
    return pb.PredictRequest(model="tiny", images=pb.Images(encoded=files), **fields)


async def test_pictures_are_answered_with_labels(stub: PredictionServiceStub) -> None:
    reply = await stub.Predict(images(png(PIXELS), png(255 - PIXELS), top_k=9))

    expected = expected_answers([PIXELS / 255, (255 - PIXELS) / 255], len(reply.predictions[0].values))
    np.testing.assert_allclose([list(row.values) for row in reply.predictions], expected, atol=1e-6)
    assert [len(row.top) for row in reply.predictions] == [expected.shape[1]] * 2
    best = reply.predictions[0].top[0]
    assert best.probability == max(reply.predictions[0].values)
    assert (reply.model, reply.version, reply.receipt.engine) == ("tiny", "1", "fake")
    assert reply.receipt.request_id
    assert len(reply.receipt.archive_sha256) == 64


async def test_equal_probabilities_go_to_the_lower_index(stub: PredictionServiceStub) -> None:
    halves = pb.Tensor(datatype="FP32", shape=[2, 3], content=np.full(6, 0.5, "<f4").tobytes())
    reply = await stub.Predict(pb.PredictRequest(model="tiny", tensor=halves))

    assert reply.predictions[0].top[0].index == 0


REFUSED = [
    ("nothing", pb.PredictRequest(model="tiny"), "INPUT_MISSING", ["images or tensor"]),
    ("no picture", pb.PredictRequest(model="tiny", images=pb.Images()), "NO_EXAMPLES", ["no images"]),
    ("no image file", images(b"GIF89a..."), "IMAGE_FORMAT", ["PNG or JPEG"]),
    ("a wrong size", images(png(np.zeros((28, 28), np.uint8))), "IMAGE_SIZE", ["28", "2"]),
    ("a truncated file", images(png(PIXELS)[:40]), "IMAGE_BROKEN", ["image"]),
]


@pytest.mark.parametrize(
    ("request_", "reason", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_unfit_input_is_explained(
    stub: PredictionServiceStub, request_: pb.PredictRequest, reason: str, words: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.Predict(request_)

    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refusal.value)["ErrorInfo"].reason == reason
    for word in words:
        assert word in words_of(refusal.value)


async def test_malformed_protobuf_is_an_invalid_argument(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await send_bytes(channel, "/seqserve.v1.PredictionService/Predict", b"\xff")

    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_models_are_listed_with_what_they_accept(stub: PredictionServiceStub) -> None:
    reply = await stub.ListModels(pb.ListModelsRequest())

    model = reply.models[0]
    assert (model.name, model.version, model.state, model.task) == (
        "tiny",
        "1",
        pb.MODEL_STATE_READY,
        "classification",
    )
    assert "2,3" in model.example_shapes


async def test_regression_gives_values_and_refuses_top_k(tmp_path: Path, engine: FakeEngine) -> None:
    line = Signature.parse(signature_document("line"))
    archive = make_archive(
        tmp_path,
        "line",
        signature=line,
        golden=(np.full((1, 1), 0.5, np.float32), np.full((1, 1), 1.0, np.float32)),
    )
    async with (
        running_gateway([archive], engine) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        stub = prediction_stub(channel)
        five = pb.Tensor(datatype="FP32", shape=[5], content=np.zeros(5, "<f4").tobytes())
        reply = await stub.Predict(pb.PredictRequest(model="line", tensor=five))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.Predict(pb.PredictRequest(model="line", tensor=five, top_k=2))

    assert [len(row.values) for row in reply.predictions] == [1] * 5
    assert not reply.predictions[0].top
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
