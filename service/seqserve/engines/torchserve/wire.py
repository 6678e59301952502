"""A batch as TorchServe's gRPC carries it, the handler's reply, and what TorchServe's statuses really mean.

A batch is one Predictions request of raw bytes, whose row our archives' handler reads:

    data      FP32 little-endian, row-major, [n, *example]
    shape     the dimensions, int64 little-endian
    datatype  ASCII "FP32"

The handler answers one status byte and what follows it: 0 and FP32 little-endian [n, *output];
1 and `REASON: text` where it refused; 2 and fixed text where it failed. (TorchServe's gRPC would turn
an error on a row into OK.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import grpc
import numpy as np
import structlog

from seqserve.engines.base import FloatArray
from seqserve.errors import EngineContractError, EngineUnavailable, Overloaded, SeqserveError
from seqserve.pb import torchserve_pb2
from seqserve.signature import Signature

log = structlog.get_logger()

INPUT_TAG, DATA_KEY = b"\x1a", b"\n\x04data\x12"
"""Of PredictionsRequest: field 3, an entry of `input`; in it field 1, the key, and the tag of field 2."""
ROW_SLACK_BYTES = 4096  # names, version, shape and protobuf's own bytes around the numbers

# What TorchServe says of a fault in the handler's code; it comes as UNAVAILABLE, and no retry helps.
# Source: ts/service.py, Service.predict.
HANDLER_FAULTS = ("Prediction failed", "Invalid model predict output", "number of batch response mismatched")
FULL_QUEUE = "has no worker to serve"  # said of a full queue as well: InferenceImpl.java, ModelManager.addJob
NO_MEMORY = "Out of resources"
TOO_LARGE = "exceeds maximum"


def needed_message_bytes(signatures: Iterable[Signature]) -> int:
    """The largest request or reply that full batches of these models make; 0 for none."""
    return max(map(message_bytes, signatures), default=0)


def message_bytes(signature: Signature) -> int:
    """The same of one model."""
    numbers = max(signature.elements, math.prod(signature.output.example_shape))
    return signature.max_batch_size * numbers * 4 + ROW_SLACK_BYTES


def request_of(signature: Signature, batch: FloatArray) -> bytes:
    """Ask one version for a batch [n, *example]: a PredictionsRequest, serialized.

    Protobuf would copy the numbers several times; here they are copied once. The fields of a message may
    follow each other in any order: protobuf.dev/programming-guides/encoding.
    """
    head = torchserve_pb2.PredictionsRequest(
        model_name=signature.name,
        model_version=signature.version,
        input={"shape": np.asarray(batch.shape, dtype="<i8").tobytes(), "datatype": b"FP32"},
    ).SerializeToString()
    numbers = np.ascontiguousarray(batch, dtype="<f4").reshape(-1).view(np.uint8)
    entry = DATA_KEY + _varint(len(numbers))
    return b"".join((head, INPUT_TAG, _varint(len(entry) + len(numbers)), entry, numbers.data))


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth set."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def rows_of(prediction: bytes, shape: tuple[int, ...]) -> FloatArray:
    """The handler's reply as FP32 of that shape. Raises EngineContractError."""
    status, rest = prediction[:1], memoryview(prediction)[1:]
    if status == b"\x00":
        expected = math.prod(shape) * 4
        if len(rest) != expected:
            raise EngineContractError(f"TorchServe: {len(rest)} bytes for {list(shape)}, not {expected}")
        rows: FloatArray = np.frombuffer(rest, dtype="<f4").astype(np.float32).reshape(shape)  # aligned again
        return rows
    if status in (b"\x01", b"\x02"):
        verb = "refused" if status == b"\x01" else "failed"
        raise EngineContractError(f"TorchServe: the handler {verb}: {bytes(rest).decode(errors='replace')}")
    raise EngineContractError(f"TorchServe: unknown status byte {status!r}")


def fault_of(error: grpc.aio.AioRpcError) -> SeqserveError:
    """TorchServe's status as an error of ours, by its words: its codes mislead.

    A full queue and an unknown model are INTERNAL, a fault in the handler is UNAVAILABLE, a dead worker
    is RESOURCE_EXHAUSTED. All but the handler's faults and full queues means that the model is away.
    """
    code, details = error.code().name, (error.details() or "").partition("\n")[0]
    if details.startswith(HANDLER_FAULTS) or TOO_LARGE in details:
        return EngineContractError(f"TorchServe: {details}")
    if FULL_QUEUE in details or details.startswith(NO_MEMORY):
        return Overloaded("TorchServe has no room for the batch")
    log.warning("torchserve call failed", code=code, details=details)  # it may name hosts: not for callers
    return EngineUnavailable("TorchServe could not run the batch")
