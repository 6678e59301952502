"""A grpc.aio server with the gateway's messages and no model: what a Python front could reach.

`python -m bench.references.empty_aio HOST:PORT REPLY`. REPLY: file with the ModelInferResponse that answers
every request. Requests are parsed and replies written by protobuf, as by any server of generated stubs.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

from seqserve.pb import inference_pb2, inference_pb2_grpc

OPTIONS = [("grpc.max_receive_message_length", -1)]


class Empty(inference_pb2_grpc.GRPCInferenceServiceServicer):
    """The same reply to each request."""

    def __init__(self, reply: inference_pb2.ModelInferResponse) -> None:
        self._reply = reply
        self._stream_reply = inference_pb2.ModelStreamInferResponse(infer_response=reply)

    async def ModelInfer(  # noqa: N802 - the service's name
        self, request: inference_pb2.ModelInferRequest, context: object
    ) -> inference_pb2.ModelInferResponse:
        """One request."""
        del request, context
        return self._reply

    async def ModelStreamInfer(  # noqa: N802 - the service's name
        self, requests: AsyncIterator[inference_pb2.ModelInferRequest], context: object
    ) -> AsyncIterator[inference_pb2.ModelStreamInferResponse]:
        """Each request in turn."""
        del context
        async for _ in requests:
            yield self._stream_reply


async def serve(address: str, reply: bytes) -> None:
    """Until it is stopped."""
    server = grpc.aio.server(options=OPTIONS)
    servicer = Empty(inference_pb2.ModelInferResponse.FromString(reply))
    inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]).read_bytes()))
