"""Bad requests: the documented status, words that help, nothing internal, and neighbours unharmed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from seqserve.errors import EngineUnavailable
from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from support.engines import FakeEngine
from support.memory import python_peak
from support.oip import details_of, infer_request, inference_stub, rows_of, send_bytes, words_of

GOOD = np.full((1, 2, 3), 0.25, np.float32)
REFUSALS, LONG_BYTES = 20, 1 << 20


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> GRPCInferenceServiceStub:
    return inference_stub(channel)


def changed(change: Callable[[pb.ModelInferRequest], object]) -> pb.ModelInferRequest:
    request = infer_request(GOOD)
    change(request)
    return request


def with_shape(*shape: int) -> pb.ModelInferRequest:
    def change(request: pb.ModelInferRequest) -> None:
        request.inputs[0].shape[:] = shape

    return changed(change)


def with_values(*values: float) -> pb.ModelInferRequest:
    return infer_request(np.asarray([values], np.float32))


def with_typed(datatype: str, **contents: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="tiny")
    tensor = request.inputs.add(name="image", datatype=datatype, shape=[1, 6])
    tensor.contents.CopyFrom(pb.InferTensorContents(**contents))
    return request


def with_parameter(name: str, value: int) -> pb.ModelInferRequest:
    return changed(lambda request: request.parameters[name].MergeFrom(pb.InferParameter(int64_param=value)))


INVALID = [
    ("wrong input name", infer_request(GOOD, name="pixels"), "INPUT_NAME", ["inputs", "pixels", "'image'"]),
    ("no input", changed(lambda r: r.ClearField("inputs")), "INPUT_NAME", ["no input", "'image'"]),
    ("input twice", changed(lambda r: r.inputs.append(r.inputs[0])), "INPUT_NAME", ["exactly one input"]),
    ("unknown output", changed(lambda r: r.outputs.add(name="logits")), "OUTPUT_NAME", ["logits", "'probabilities'"]),
    ("refused datatype", changed(lambda r: setattr(r.inputs[0], "datatype", "FP64")), "DATATYPE_NOT_ACCEPTED", ["image", "FP64", "FP32"]),
    ("rank 0", with_shape(), "RANK_NOT_ACCEPTED", ["image", "1 to 8"]),
    ("rank 9", with_shape(*[1] * 9), "RANK_NOT_ACCEPTED", ["image", "1 to 8"]),
    ("a dimension of 0", with_shape(0, 6), "DIMENSION_NOT_POSITIVE", ["image", "0"]),
    ("a negative dimension", with_shape(-1, 6), "DIMENSION_NOT_POSITIVE", ["image", "-1"]),
    ("an overflowing product", with_shape(2**62, 6), "SHAPE_OVERFLOW", ["image"]),
    ("the right count in the wrong shape", with_shape(3, 2), "SHAPE_NOT_ACCEPTED", ["image", "[3,2]", "2,3"]),
    ("too few bytes", with_shape(2, 2, 3), "BYTE_LENGTH_MISMATCH", ["image", "24 bytes", "48 bytes"]),
    ("NaN", with_values(0, 0, float("nan"), 0, 0, 0), "NOT_FINITE", ["image", "nan", "[0,2]"]),
    ("out of range", with_values(0, 0, 3.7, 0, 0, 0), "OUT_OF_RANGE", ["3.7 at [0,2]", "0 to 1", "use UINT8"]),
    ("too many examples", infer_request(np.zeros((1025, 6))), "TOO_MANY_EXAMPLES", ["1025", "1024"]),
    ("raw twice", changed(lambda r: r.raw_input_contents.append(b"")), "RAW_CONTENTS", ["2 raw_input_contents"]),
    ("raw beside typed", changed(lambda r: r.inputs[0].contents.fp32_contents.append(1)), "RAW_CONTENTS", ["contents"]),
    ("values in another field", with_typed("FP32", int_contents=[0] * 6), "CONTENTS_FIELD", ["fp32_contents"]),
    ("a typed pixel of 256", with_typed("UINT8", uint_contents=[256] * 6), "OUT_OF_RANGE", ["256", "0 to 255"]),
    ("typed FP16", with_typed("FP16"), "CONTENTS_FIELD", ["raw_input_contents"]),
    ("no values", with_typed("FP32"), "BYTE_LENGTH_MISMATCH", ["image", "0 bytes"]),
    ("a sequence", with_parameter("sequence_id", 7), "PARAMETER_NOT_ACCEPTED", ["sequence_id"]),
    ("a timeout of 0", with_parameter("timeout", 0), "PARAMETER_NOT_ACCEPTED", ["timeout", "microseconds"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "reason", "words"), [row[1:] for row in INVALID], ids=[row[0] for row in INVALID]
)
async def test_invalid_requests_are_explained(
    stub: GRPCInferenceServiceStub, request_: pb.ModelInferRequest, reason: str, words: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.ModelInfer(request_)

    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = details_of(refusal.value)
    assert details["ErrorInfo"].reason == reason
    assert details["BadRequest"].field_violations[0].field
    for word in words:
        assert word in words_of(refusal.value)
    assert len((await stub.ModelInfer(infer_request(GOOD))).outputs) == 1


@pytest.mark.parametrize(
    ("model", "version", "words"),
    [("nobody", "", ["nobody"]), ("tiny", "7", ["'7'", "available: 1"]), ("x" * 99, "", ["x" * 61 + "..."])],
)
async def test_unknown_models_and_versions_are_not_found(
    stub: GRPCInferenceServiceStub, model: str, version: str, words: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.ModelInfer(infer_request(GOOD, model=model, version=version))

    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    for word in words:
        assert word in words_of(refusal.value)


async def test_what_came_is_escaped_and_cut(stub: GRPCInferenceServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.ModelInfer(infer_request(GOOD, name="a\nb" + "c" * 500))

    assert "a\\\\nb" in words_of(refusal.value)
    assert "c" * 65 not in words_of(refusal.value)


async def test_malformed_protobuf_is_an_invalid_argument(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await send_bytes(channel, "/inference.GRPCInferenceService/ModelInfer", b"\x0a\xff\xff\xff\xff\x0f")

    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refusal.value)["ErrorInfo"].reason == "MALFORMED_PROTOBUF"


async def test_a_message_above_the_limit_is_refused(gateway: Gateway) -> None:
    unlimited = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}", options=unlimited) as channel:
        request = changed(lambda r: r.raw_input_contents.__setitem__(0, bytes(17 * 2**20)))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await inference_stub(channel).ModelInfer(request)

    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await send_bytes(channel, "/inference.GRPCInferenceService/Guess", b"")

    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_engine_that_is_away_is_unavailable_and_worth_a_retry(
    stub: GRPCInferenceServiceStub, engine: FakeEngine
) -> None:
    engine.fault = EngineUnavailable("TorchServe is away")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.ModelInfer(infer_request(GOOD))

    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    assert details_of(refusal.value)["RetryInfo"].retry_delay.ToSeconds() == 1
    engine.fault = None
    assert len(rows_of(await stub.ModelInfer(infer_request(GOOD)))) == 1


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        (RuntimeError("secret path /etc/models"), None),
        (None, np.full((1, 2), np.nan, np.float32)),
        (None, np.full((1, 2), 0.75, np.float32)),
        (None, np.full((2, 2), 0.5, np.float32)),
        (None, np.full((1, 3), 1 / 3, np.float32)),
    ],
    ids=["exception", "NaN", "sum of 1.5", "a row too many", "another shape"],
)
async def test_nonsense_from_an_engine_is_internal_and_tells_nothing(
    stub: GRPCInferenceServiceStub, engine: FakeEngine, fault: Exception | None, wrong: np.ndarray | None
) -> None:
    engine.fault, engine.wrong = fault, wrong
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.ModelInfer(infer_request(GOOD), metadata=(("x-request-id", "order-7"),))

    assert refusal.value.code() is grpc.StatusCode.INTERNAL
    assert words_of(refusal.value) == "internal error; request id order-7"
    assert set(details_of(refusal.value)) == {"ErrorInfo"}
    engine.fault = engine.wrong = None
    assert len(rows_of(await stub.ModelInfer(infer_request(GOOD)))) == 1


async def test_of_malformed_messages_only_inference_requests_count_as_such(
    gateway: Gateway, channel: grpc.aio.Channel
) -> None:
    for method in ("inference.GRPCInferenceService/ModelInfer", "seqserve.v1.PredictionService/Predict",
                   "inference.GRPCInferenceService/ModelReady", "seqserve.v1.PredictionService/GetModel"):  # fmt: skip
        with pytest.raises(grpc.aio.AioRpcError):
            await send_bytes(channel, f"/{method}", b"\xff")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
        text = (await http.get("/metrics")).text

    counted = 'seqserve_requests_total{code="INVALID_ARGUMENT",model="unknown",version="unknown"} 2.0'
    assert counted in text


async def test_what_was_refused_does_not_wait_for_pythons_collector(stub: GRPCInferenceServiceStub) -> None:
    refused = infer_request(np.zeros((1, 6)), model="unknown")
    refused.raw_input_contents[0] = bytes(LONG_BYTES)
    gc.disable()
    try:
        with python_peak() as peak:
            for _ in range(REFUSALS):
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.ModelInfer(refused)
    finally:
        gc.enable()

    assert peak.bytes < REFUSALS * LONG_BYTES / 2
