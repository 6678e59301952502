"""The synchronous client; aio.py is its twin, and what both have in common lies in modules of its own."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from seqserve.client.connection import MAX_MESSAGE_BYTES, Connection, channel_options, id_of_call
from seqserve.client.replies import (
    Model,
    ModelVersions,
    Reply,
    StreamReply,
    model_versions_of,
    models_of,
    reply_of,
    stream_reply_of,
)
from seqserve.client.requests import Examples, predict_request
from seqserve.client.tls import Tls
from seqserve.client.tokens import Token
from seqserve.pb.v1 import prediction_pb2 as pb
from seqserve.pb.v1 import prediction_pb2_grpc


class Client:
    """Asks one gateway, or all of a name's in turn. Use it as a context manager, or call `close`.

    Threads may share it.
    address: HOST:PORT; of a name with several addresses each call takes the next one that has a connection.
    timeout_seconds: of each call that names none. max_attempts: tries of a call that meets
    UNAVAILABLE, or a server that stops; they have a budget.
    max_message_bytes: of the largest request and the largest reply; the gateway has a limit of its own.
    token: says who calls; a function is asked before each call. tls: True, or Tls with certificates.
    allow_plaintext_token: send the token unencrypted to another machine. Raises ValueError for a token that
    would go there otherwise, and OSError for certificates that cannot be read.
    Every call raises PredictionError; see errors.py for what kinds there are.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_seconds: float = 10.0,
        max_attempts: int = 4,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        token: Token | None = None,
        tls: bool | Tls = False,
        allow_plaintext_token: bool = False,
    ) -> None:
        self._connection = Connection.checked(
            address,
            channel_options(max_attempts, max_message_bytes),
            token=token,
            tls=tls,
            allow_plaintext_token=allow_plaintext_token,
        )
        self._channel = self._connection.channel()
        self._stub = prediction_pb2_grpc.PredictionServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._timeout_seconds = timeout_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what is under way is cancelled."""
        self._channel.close()

    def predict(
        self,
        examples: Examples,
        *,
        model: str,
        version: str = "",
        top_k: int = 0,
        timeout_seconds: float | None = None,
        request_id: str = "",
    ) -> Reply:
        """Answers for one example or a batch.

        version: a number, a label, or "" for the gateway's choice. top_k: labels an answer names, 0 for
        one. request_id: for logs, and so that a repeated call meets the same version of a canary.
        Raises TypeError for examples that the protocol does not carry, ValueError for an unfit id.
        """
        request = predict_request(examples, model=model, version=version, top_k=top_k)
        return reply_of(self._call(self._stub.Predict, request, timeout_seconds, request_id))

    def stream(
        self,
        items: Iterable[Examples],
        *,
        model: str,
        version: str = "",
        top_k: int = 0,
        timeout_seconds: float | None = None,
        request_id: str = "",
    ) -> Generator[StreamReply]:
        """Answers to each item over one stream, in the order in which they are ready.

        An item's error is a value (see StreamReply), and the stream goes on. What ends the stream itself
        is raised: PredictionError, and whatever `items` raises, after the replies to what it had given.
        timeout_seconds: of the whole stream; None for none. Another thread iterates over `items`.
        """
        sent_id = id_of_call(request_id)
        failures: list[Exception] = []

        def requests() -> Iterator[pb.PredictRequest]:
            try:
                for index, examples in enumerate(items):
                    request = predict_request(examples, model=model, version=version, top_k=top_k)
                    request.id = str(index)
                    yield request
            except Exception as error:  # noqa: BLE001 - it is raised where the caller can catch it
                failures.append(error)

        call = self._stub.PredictStream(
            requests(), timeout=timeout_seconds, metadata=self._connection.metadata(sent_id)
        )
        try:
            for message in call:
                yield stream_reply_of(message)
        except grpc.RpcError as error:
            raise self._connection.error_of(error, sent_id) from error
        finally:
            call.cancel()
        for failure in failures:
            raise failure

    def models(self, *, timeout_seconds: float | None = None) -> list[Model]:
        """Every version of every model that the gateway has."""
        return models_of(self._call(self._stub.ListModels, pb.ListModelsRequest(), timeout_seconds))

    def model(self, name: str, *, timeout_seconds: float | None = None) -> ModelVersions:
        """One model: its versions, labels and weights. Raises NotFound."""
        request = pb.GetModelRequest(model=name)
        return model_versions_of(self._call(self._stub.GetModel, request, timeout_seconds))

    def health(self, service: str = "", *, timeout_seconds: float | None = None) -> bool:
        """Whether the gateway serves, or `model/NAME`, or `model/NAME/VERSION`. Raises NotFound."""
        request = health_pb2.HealthCheckRequest(service=service)
        reply = self._call(self._health.Check, request, timeout_seconds)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def _call(self, method: Any, request: Any, timeout_seconds: float | None, request_id: str = "") -> Any:
        sent_id = id_of_call(request_id)
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            return method(request, timeout=timeout, metadata=self._connection.metadata(sent_id))
        except grpc.RpcError as error:
            raise self._connection.error_of(error, sent_id) from error
