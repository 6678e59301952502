"""Runs models in TorchServe, over its gRPC wire.

A batch travels as one gRPC Predictions request of raw bytes, whose row our archives' handler reads:

    data      FP32 little-endian, row-major, [n, *example]
    shape     the dimensions, int64 little-endian
    datatype  ASCII "FP32"

The handler answers one status byte and what follows it: 0 and FP32 little-endian [n, *output];
1 and `REASON: text` where it refused; 2 and fixed text where it failed. (TorchServe's gRPC would turn
an error on a row into OK.) TorchServe is not maintained any more: whatever depends on it stays in the
files named torchserve*.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from pathlib import Path

import grpc
import numpy as np
import structlog
from google.protobuf import empty_pb2

from seqserve.archive import Archive
from seqserve.engines.base import FloatArray
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.management import Management
from seqserve.errors import ArchiveInvalid, EngineContractError, EngineUnavailable, SeqserveError
from seqserve.pb import torchserve_pb2, torchserve_pb2_grpc
from seqserve.signature import Signature

log = structlog.get_logger()

ROW_SLACK_BYTES = 4096  # names, version, shape and protobuf's own bytes around the numbers
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # the server is ours; its own limit bounds what comes
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


def needed_message_bytes(signatures: Iterable[Signature]) -> int:
    """The largest request or reply that full batches of these models make; 0 for none."""
    return max(map(_message_bytes, signatures), default=0)


def _message_bytes(signature: Signature) -> int:
    numbers = max(signature.elements, math.prod(signature.output.example_shape))
    return signature.max_batch_size * numbers * 4 + ROW_SLACK_BYTES


async def ping(endpoint: TorchServeEndpoint, *, timeout_seconds: float) -> None:
    """Return when TorchServe takes gRPC calls. Raises EngineUnavailable where it does not."""
    async with grpc.aio.insecure_channel(endpoint.grpc_target, options=CHANNEL_OPTIONS) as channel:
        stub = _stub(channel)
        metadata = _authorization(endpoint.tokens.inference())
        try:
            await stub.Ping(empty_pb2.Empty(), metadata=metadata, timeout=timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise EngineUnavailable(f"TorchServe does not answer: {error.details()}") from error


def _stub(channel: grpc.aio.Channel) -> torchserve_pb2_grpc.InferenceAPIsServiceStub:
    return torchserve_pb2_grpc.InferenceAPIsServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


def _authorization(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


class Predictions:
    """The gRPC half of the wire."""

    def __init__(self, endpoint: TorchServeEndpoint) -> None:
        self._tokens = endpoint.tokens
        self._channel = grpc.aio.insecure_channel(endpoint.grpc_target, options=CHANNEL_OPTIONS)
        self._stub = _stub(self._channel)

    async def predict(self, request: torchserve_pb2.PredictionsRequest) -> bytes:
        """The handler's bytes. Raises EngineUnavailable, EngineContractError; a cancel goes through."""
        try:
            return await self._call(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                raise _fault(error) from error
        self._tokens.forget()  # somebody renewed them
        try:
            return await self._call(request)
        except grpc.aio.AioRpcError as error:
            raise _fault(error) from error

    async def aclose(self) -> None:
        """Cancel what is in flight and disconnect."""
        await self._channel.close(None)

    async def _call(self, request: torchserve_pb2.PredictionsRequest) -> bytes:
        metadata = _authorization(self._tokens.inference())
        reply = await self._stub.Predictions(request, metadata=metadata)
        return bytes(reply.prediction)


def _fault(error: grpc.aio.AioRpcError) -> SeqserveError:
    """TorchServe's status as an error of ours.

    Only an exception in the handler is the model's fault; it comes as UNAVAILABLE. All else is worth
    a retry: a dead worker is RESOURCE_EXHAUSTED, a full queue and an unknown model are INTERNAL.
    """
    code, details = error.code().name, (error.details() or "").partition("\n")[0]
    log.warning("torchserve call failed", code=code, details=details)
    if details.startswith("Prediction failed"):
        return EngineContractError("TorchServe: the handler raised an exception")
    return EngineUnavailable(f"TorchServe could not run the batch ({code})")


class TorchServeModel:
    """One version, registered in TorchServe."""

    def __init__(self, engine: TorchServeEngine, predictions: Predictions, signature: Signature) -> None:
        self._engine = engine
        self._predictions = predictions
        self._signature = signature

    async def infer(self, batch: FloatArray) -> FloatArray:
        """See LoadedModel.infer. The caller's cancel cancels the call."""
        request = torchserve_pb2.PredictionsRequest(
            model_name=self._signature.name,
            model_version=self._signature.version,
            input={
                "data": np.ascontiguousarray(batch, dtype="<f4").tobytes(),
                "shape": np.asarray(batch.shape, dtype="<i8").tobytes(),
                "datatype": b"FP32",
            },
        )
        prediction = await self._predictions.predict(request)
        return rows_of(prediction, (len(batch), *self._signature.output.example_shape))

    async def unload(self) -> None:
        """Unregister. A server that is away holds nothing: that is logged, not raised."""
        await self._engine.unregister(self._signature)


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


class TorchServeEngine:
    """Loads archives into a TorchServe. It neither starts nor stops that server."""

    name = "torchserve"

    def __init__(self, endpoint: TorchServeEndpoint, management: Management | None = None) -> None:
        self._endpoint = endpoint
        self._predictions = Predictions(endpoint)
        self._management = management or Management(endpoint)
        self._versions: dict[str, set[str]] = {}
        self._wished: dict[str, str] = {}
        self._device = "cpu"

    @property
    def device(self) -> str:
        """`cpu`, or `cuda` once a worker was given a GPU."""
        return self._device

    async def load(self, archive: Archive) -> TorchServeModel:
        """Copy the verified bytes into the model store and register them.

        The highest version becomes TorchServe's default. Raises ArchiveInvalid, EngineUnavailable.
        """
        signature = archive.signature
        if signature.version in self._versions.get(signature.name, ()):
            raise ArchiveInvalid(f"version {signature.version} of {signature.name} is in TorchServe already")
        self._check_size(signature)
        file = self._file_of(signature)
        await asyncio.to_thread(_write_private, file, archive.content)
        try:
            await self._register(signature, file)
        except SeqserveError:
            await self.unregister(signature)  # one whose worker does not start stays registered
            raise
        return TorchServeModel(self, self._predictions, signature)

    async def unregister(self, signature: Signature) -> None:
        """Take a version out of TorchServe; what goes wrong is logged."""
        name, version = signature.name, signature.version
        self._versions.get(name, set()).discard(version)
        try:
            await self._follow_default(name)
            await self._management.unregister(name, version)
        except SeqserveError as error:
            log.warning("model not unregistered", model=name, version=version, reason=str(error))
        self._file_of(signature).unlink(missing_ok=True)

    async def set_default(self, name: str, version: str) -> None:
        """See Engine.set_default; until it is called the highest version is the default."""
        self._wished[name] = version
        try:
            await self._follow_default(name)
        except SeqserveError as error:
            log.warning("default not set", model=name, version=version, reason=str(error))

    async def aclose(self) -> None:
        """Disconnect. The server runs on."""
        await self._predictions.aclose()
        await self._management.aclose()

    async def _register(self, signature: Signature, file: Path) -> None:
        await self._management.register(file.name)
        self._versions.setdefault(signature.name, set()).add(signature.version)
        await self._follow_default(signature.name)
        if await self._management.has_gpu(signature.name, signature.version):
            self._device = "cuda"

    async def _follow_default(self, name: str) -> None:
        versions = self._versions.get(name)
        if versions:
            wished = self._wished.get(name, "")
            version = wished if wished in versions else max(versions, key=int)
            await self._management.set_default(name, version)

    def _check_size(self, signature: Signature) -> None:
        needed, limit = _message_bytes(signature), self._endpoint.max_message_bytes
        if needed > limit:
            raise ArchiveInvalid(
                f"{signature.name}: a batch of {signature.max_batch_size} examples takes {needed} bytes; "
                f"TorchServe takes {limit}"
            )

    def _file_of(self, signature: Signature) -> Path:
        return self._endpoint.model_store / f"{signature.name}-{signature.version}.mar"


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
