"""What travels to TorchServe and back, and what its words really mean."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from grpc.aio import AioRpcError, Metadata

from seqserve.engines.torchserve.wire import (
    fault_of,
    message_bytes,
    needed_message_bytes,
    request_of,
    rows_of,
)
from seqserve.errors import EngineContractError, EngineUnavailable, Overloaded
from seqserve.pb import torchserve_pb2
from seqserve.signature import Signature
from support.contract import signature_document

TINY = Signature.parse(signature_document("tiny_image"))
ROWS = np.arange(4, dtype=np.float32).reshape(2, 2)
JAVA = "\norg.pytorch.serve.http.InternalServerException"
NO_WORKER = (
    'Model "tiny" Version 1" has no worker to serve inference request. Please use scale workers API to add '
    "workers. If this is a sequence inference, please check if it is closed, or expired; or exceeds "
    "maxSequenceJobQueueSize\nInternalServerException.()"
)
ABSENT = "\norg.pytorch.serve.archive.model.ModelVersionNotFoundException"

# Every status that TorchServe 0.12 can answer a Predictions call with, and the transport below it.
# Sources: InferenceImpl.java, GRPCInterceptor.java, GRPCJob.java with GRPCUtils.java (HTTP → gRPC codes),
# WorkerThread.java, ts/service.py; ts/model_service_worker.py answers nothing of its own.
AWAY = [
    ("RESOURCE_EXHAUSTED", f"Worker died.{JAVA}"),  # 413: it was killed, or memory ran out
    ("INTERNAL", f"Worker died.{JAVA}"),  # 500: it left by itself, or did not answer in time
    ("INTERNAL", f"Model not found: tiny{ABSENT}"),
    ("INTERNAL", f"Model version: 1 does not exist for model: tiny{ABSENT}"),
    ("PERMISSION_DENIED", "Token Authorization failed. Token either incorrect, expired, or not provided…"),
    ("UNKNOWN", "Application error processing RPC"),  # an exception in its Java
    ("CANCELLED", "call already cancelled"),
    ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: Connection refused"),
    ("UNAVAILABLE", "Socket closed"),
    ("UNAVAILABLE", "GOAWAY received"),
    ("UNAVAILABLE", "keepalive watchdog timeout"),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded"),
    ("UNIMPLEMENTED", "Method not found!"),
    ("UNKNOWN", None),
]
FULL = [
    ("INTERNAL", NO_WORKER),  # of a full queue as well
    ("INTERNAL", f"Out of resources{JAVA}"),  # 507
]
BROKEN = [
    ("UNAVAILABLE", f"Prediction failed{JAVA}"),  # 503
    ("UNAVAILABLE", f"Invalid model predict output{JAVA}"),
    ("UNAVAILABLE", f"number of batch response mismatched{JAVA}"),
    ("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 6553500: 7000000"),
]


def error(code: str, details: str | None) -> AioRpcError:
    return AioRpcError(grpc.StatusCode[code], Metadata(), Metadata(), details=details, debug_error_string="")


@pytest.mark.parametrize(("code", "details"), AWAY)
def test_the_model_is_away(code: str, details: str | None) -> None:
    fault = fault_of(error(code, details))

    assert type(fault) is EngineUnavailable
    assert str(fault) == "TorchServe could not run the batch", "callers hear of no hosts"


@pytest.mark.parametrize(("code", "details"), FULL)
def test_there_is_no_room_just_now(code: str, details: str) -> None:
    assert type(fault_of(error(code, details))) is Overloaded


@pytest.mark.parametrize(("code", "details"), BROKEN)
def test_no_retry_helps(code: str, details: str) -> None:
    fault = fault_of(error(code, details))

    assert type(fault) is EngineContractError
    assert details.partition("\n")[0] in str(fault)


def test_a_model_named_like_a_fault_is_still_not_there() -> None:
    assert type(fault_of(error("INTERNAL", "Model not found: Out of resources"))) is EngineUnavailable


def test_rows_come_as_floats_that_can_be_written_to() -> None:
    rows = rows_of(b"\x00" + ROWS.tobytes(), (2, 2))

    assert rows.dtype == np.float32
    assert np.array_equal(rows, ROWS)
    assert rows.flags.aligned
    assert rows.flags.writeable


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"\x01SHAPE_NOT_ACCEPTED: image: [3]", "refused: SHAPE_NOT_ACCEPTED: image: .3."),
        (b"\x02the model failed", "failed: the model failed"),
        (b"\x01\xff", "refused: \ufffd"),
        (b"\x00" + ROWS.tobytes()[4:], "12 bytes for .2, 2., not 16"),
        (b"\x00" + ROWS.tobytes() + b"\x00", "17 bytes"),
        (b"\x00", "0 bytes"),
        (b"\x07", "unknown status byte"),
        (b"", "unknown status byte"),
        (b"{}", "unknown status byte"),
    ],
)
def test_anything_but_the_rows_is_a_broken_contract(reply: bytes, says: str) -> None:
    with pytest.raises(EngineContractError, match=says):
        rows_of(reply, (2, 2))


@pytest.mark.parametrize("count", [1, TINY.max_batch_size])
def test_the_needed_bytes_hold_every_request_and_reply(count: int) -> None:
    batch = np.zeros((count, *TINY.input.example_shape), np.float32)
    reply = 1 + 4 * count * int(np.prod(TINY.output.example_shape))

    assert max(len(request_of(TINY, batch)), reply) <= message_bytes(TINY)


@pytest.mark.parametrize("examples", [1, 3, 10, 11, 21, 22, 256, 10_000])
def test_a_request_is_what_protobuf_would_make_of_it(examples: int) -> None:
    batch = np.linspace(0, 1, examples * 6, dtype=np.float32).reshape(examples, 2, 3)
    transposed = np.asfortranarray(batch)

    for same in (batch, transposed):
        request = torchserve_pb2.PredictionsRequest.FromString(request_of(TINY, same))
        assert request == torchserve_pb2.PredictionsRequest(
            model_name=TINY.name,
            model_version=TINY.version,
            input={
                "data": batch.tobytes(),
                "shape": np.array(batch.shape, "<i8").tobytes(),
                "datatype": b"FP32",
            },
        )


def test_the_largest_model_sets_the_limit_and_none_sets_none() -> None:
    larger = TINY.model_copy(update={"max_batch_size": 10 * TINY.max_batch_size})

    assert needed_message_bytes([TINY, larger]) == message_bytes(larger) > message_bytes(TINY)
    assert needed_message_bytes([]) == 0
