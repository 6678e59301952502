"""`grpc.reflection.v1alpha`: which services there are, for programs such as grpcurl."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from seqserve.grpc_api.boundary import Handler
from seqserve.grpc_api.mapped import mapped, parsing

SERVICE = reflection.SERVICE_NAME


def reflection_handler(services: Sequence[str]) -> Handler:
    """What a gRPC server registers. grpcio would register it by itself, past every guard."""
    servicer = reflection.aio.ReflectionServicer(  # type: ignore[attr-defined]  # the stubs leave it out
        [*services, SERVICE]
    )
    answer = grpc.stream_stream_rpc_method_handler(
        mapped(servicer.ServerReflectionInfo, f"/{SERVICE}/ServerReflectionInfo"),
        request_deserializer=parsing(reflection_pb2.ServerReflectionRequest),
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"ServerReflectionInfo": answer})
