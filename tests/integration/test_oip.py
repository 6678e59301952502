"""The Open Inference Protocol over a real channel: answers, forms, metadata, readiness."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest

from seqserve.pb import inference_pb2 as pb
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from support.archives import make_archive
from support.engines import FakeEngine, expected_answers
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub, rows_of

IMAGES = np.linspace(0, 1, 18, dtype=np.float32).reshape(3, 2, 3)


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> GRPCInferenceServiceStub:
    return inference_stub(channel)


async def test_raw_rows_are_answered_in_order(stub: GRPCInferenceServiceStub) -> None:
    reply = await stub.ModelInfer(infer_request(IMAGES, id="mine"))

    assert (reply.model_name, reply.model_version, reply.id) == ("tiny", "1", "mine")
    np.testing.assert_array_equal(rows_of(reply), expected_answers(IMAGES, rows_of(reply).shape[1]))
    assert not reply.outputs[0].HasField("contents")


async def test_a_single_image_is_one_example(stub: GRPCInferenceServiceStub) -> None:
    reply = await stub.ModelInfer(infer_request(IMAGES[0]))

    assert reply.outputs[0].shape[0] == 1


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("FP32", "fp32_contents", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ("UINT8", "uint_contents", [0, 51, 102, 153, 204, 255]),
    ],
)
async def test_typed_contents_are_answered_in_typed_form(
    stub: GRPCInferenceServiceStub, datatype: str, field: str, values: list[float]
) -> None:
    request = pb.ModelInferRequest(model_name="tiny")
    tensor = request.inputs.add(name="image", datatype=datatype, shape=[1, 2, 3])
    getattr(tensor.contents, field).extend(values)

    reply = await stub.ModelInfer(request)

    assert not reply.raw_output_contents
    expected = expected_answers([[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]], reply.outputs[0].shape[1])
    np.testing.assert_allclose(rows_of(reply), expected, atol=1e-6)


async def test_the_reply_carries_a_receipt(stub: GRPCInferenceServiceStub) -> None:
    reply = await stub.ModelInfer(infer_request(IMAGES))

    assert reply.parameters["seqserve_batch_size"].int64_param == 3
    assert reply.parameters["seqserve_engine"].string_param == "fake"
    assert reply.parameters["seqserve_device"].string_param == "cpu"
    assert len(reply.parameters["seqserve_archive_sha256"].string_param) == 64
    assert reply.parameters["seqserve_queue_ns"].int64_param >= 0
    assert reply.parameters["seqserve_compute_ns"].int64_param > 0


async def test_a_request_above_the_batch_limit_is_split_and_rejoined(
    stub: GRPCInferenceServiceStub, engine: FakeEngine
) -> None:
    many = np.random.default_rng(0).random((50, 6), np.float32)
    engine.batches.clear()

    reply = await stub.ModelInfer(infer_request(many))

    assert sum(engine.batches) == 50
    assert len(engine.batches) > 1
    np.testing.assert_array_equal(rows_of(reply), expected_answers(many, rows_of(reply).shape[1]))


async def test_readiness_of_server_and_models(stub: GRPCInferenceServiceStub) -> None:
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live
    assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
    assert (await stub.ModelReady(pb.ModelReadyRequest(name="tiny"))).ready
    assert (await stub.ModelReady(pb.ModelReadyRequest(name="tiny", version="1"))).ready
    assert not (await stub.ModelReady(pb.ModelReadyRequest(name="tiny", version="2"))).ready
    assert not (await stub.ModelReady(pb.ModelReadyRequest(name="nobody"))).ready


async def test_metadata_describes_server_and_model(stub: GRPCInferenceServiceStub) -> None:
    server = await stub.ServerMetadata(pb.ServerMetadataRequest())
    model = await stub.ModelMetadata(pb.ModelMetadataRequest(name="tiny"))

    assert server.name == "seqserve"
    assert list(server.extensions) == ["classification", "model_configuration", "statistics"]
    assert (model.name, list(model.versions), model.platform) == ("tiny", ["1"], "pytorch_torchscript")
    assert (model.inputs[0].name, model.inputs[0].datatype, list(model.inputs[0].shape)) == (
        "image",
        "FP32",
        [-1, 6],
    )
    assert model.outputs[0].shape[0] == -1


async def test_the_configuration_describes_batching_and_tensors_without_the_batch(
    stub: GRPCInferenceServiceStub,
) -> None:
    config = (await stub.ModelConfig(pb.ModelConfigRequest(name="tiny"))).config

    assert (config.name, config.platform, config.backend) == ("tiny", "pytorch_torchscript", "seqserve")
    assert config.max_batch_size == 4
    assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in config.input] == [
        ("image", pb.TYPE_FP32, [6])
    ]
    assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in config.output] == [
        ("probabilities", pb.TYPE_FP32, [2])
    ]
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert list(config.version_policy.specific.versions) == [1]
    assert config.HasField("model_transaction_policy")
    assert not config.model_transaction_policy.decoupled


async def test_the_configuration_tells_the_delay_in_microseconds(tmp_path: Path, engine: FakeEngine) -> None:
    async with (
        running_gateway([make_archive(tmp_path)], engine, max_queue_delay_seconds=0.0025) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        reply = await inference_stub(channel).ModelConfig(pb.ModelConfigRequest(name="tiny"))

    assert reply.config.dynamic_batching.max_queue_delay_microseconds == 2500


async def test_the_best_classes_come_on_request(stub: GRPCInferenceServiceStub) -> None:
    request = infer_request(np.stack([np.zeros(6), np.ones(6)]))
    request.outputs.add(name="probabilities").parameters["classification"].int64_param = 1

    reply = await stub.ModelInfer(request)

    assert (reply.outputs[0].datatype, list(reply.outputs[0].shape)) == ("BYTES", [2, 1])
    assert (
        reply.raw_output_contents[0]
        == b"\x11\0\0\0" + b"0.750000:1:bright" + b"\x0f\0\0\0" + b"0.750000:0:dark"
    )


async def test_the_request_id_is_taken_over_and_returned(stub: GRPCInferenceServiceStub) -> None:
    call = stub.ModelInfer(infer_request(IMAGES), metadata=(("x-request-id", "order-7"),))
    await call

    assert ("x-request-id", "order-7") in list(await call.trailing_metadata())


@pytest.mark.parametrize("unfit", ["with space", "x" * 65])
async def test_an_unfit_request_id_is_replaced(stub: GRPCInferenceServiceStub, unfit: str) -> None:
    call = stub.ModelInfer(infer_request(IMAGES), metadata=(("x-request-id", unfit),))
    await call

    made = dict(await call.trailing_metadata())["x-request-id"]
    assert made
    assert made != unfit
