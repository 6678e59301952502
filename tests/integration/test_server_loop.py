"""The server's event loop under grpc.aio itself: it knows names inside grpcio that another version may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from seqserve.grpc_api.loop import ServerLoop

Work = Callable[[str], Awaitable[None]]
METHOD = "/test.Service/Method"


def beside_server(handler: Callable[[bytes, Any], Awaitable[bytes]], work: Work) -> None:
    async def serve() -> None:
        server = grpc.aio.server()
        methods = {"Method": grpc.unary_unary_rpc_method_handler(handler)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", methods)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        await work(f"127.0.0.1:{port}")
        await server.stop(None)

    with asyncio.Runner(loop_factory=ServerLoop) as runner:
        runner.run(serve())


def test_a_status_that_cannot_be_sent_is_seen_to_its_end() -> None:
    ends: list[BaseException] = []
    entered, ended = asyncio.Event(), asyncio.Event()

    async def handle(_: bytes, context: Any) -> bytes:
        entered.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            try:
                await context.abort(grpc.StatusCode.INTERNAL, "too late")
            except Exception as error:
                ends.append(error)
                raise
        finally:
            ended.set()
        return b""

    async def leave(address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            call = channel.unary_unary(METHOD, None, None)(b"")
            await entered.wait()
            call.cancel()
            await ended.wait()

    beside_server(handle, leave)
    assert [type(error) for error in ends] == [grpc.aio.AbortError]
