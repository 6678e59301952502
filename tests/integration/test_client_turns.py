"""The client and a name with several addresses: it takes turns, and finds who answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from seqserve.pb.v1 import prediction_pb2 as pb
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.name_server import name_server

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
NOBODY = "127.0.0.4"
IMAGE = np.full((2, 3), 0.25, np.float32)
CALLS = 30
SERVICE = "seqserve.v1.PredictionService"
WAIT_SECONDS = 60.0

Pair = tuple[int, Sequence[FakeEngine]]


def free_on(hosts: Sequence[str]) -> int:
    """A port that nobody has on any of these addresses."""
    while True:
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in hosts]
            sockets[0].bind((hosts[0], 0))
            port: int = sockets[0].getsockname()[1]
            with suppress(OSError):
                for other, host in zip(sockets[1:], hosts[1:], strict=True):
                    other.bind((host, port))
                return port


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Pair]:
    """The port that three gateways have, each on an address of its own, and their engines."""
    archives, engines, port = [make_archive(tmp_path)], [FakeEngine() for _ in HOSTS], free_on(HOSTS)
    async with AsyncExitStack() as stack:
        for host, engine in zip(HOSTS, engines, strict=True):
            starting = running_gateway(archives, engine, host=host, grpc_port=port)
            await stack.enter_async_context(starting)
            engine.batches.clear()
        yield port, engines


async def test_calls_take_turns_over_all_addresses_of_a_name(three: Pair, twin: Any) -> None:
    port, engines = three
    with name_server("127.0.0.1", HOSTS) as names:
        async with twin(names.target(port)) as client, asyncio.timeout(WAIT_SECONDS):
            while not all(answered(engines)):  # those that are connected first have calls before the others
                await client.predict(IMAGE, model="tiny")
            before = answered(engines)
            for _ in range(CALLS):
                await client.predict(IMAGE, model="tiny")

    more = [after - count for after, count in zip(answered(engines), before, strict=True)]
    assert more == [CALLS / len(HOSTS)] * len(HOSTS)


async def test_an_address_where_nobody_listens_takes_no_turn(three: Pair, twin: Any) -> None:
    port, engines = three
    with name_server("127.0.0.1", [HOSTS[0], NOBODY]) as names:
        async with twin(names.target(port), max_attempts=1) as client:
            for _ in range(CALLS):
                await client.predict(IMAGE, model="tiny")

    assert answered(engines) == [CALLS, 0, 0]


async def test_what_a_stopping_server_had_not_begun_is_tried_again(twin: Any) -> None:
    """It says CANCELLED of it. Here the server has begun, and says so all the same."""
    tries = []

    async def predict(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        tries.append(dict(context.invocation_metadata() or ())["x-request-id"])
        if len(tries) < 3:
            await context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
        return pb.PredictResponse(model="tiny").SerializeToString()

    server = grpc.aio.server()
    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(predict)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with twin(f"127.0.0.1:{port}") as client:
        assert (await client.predict(IMAGE, model="tiny", request_id="order-7")).model == "tiny"
    await server.stop(None)

    assert tries == ["order-7"] * 3


def answered(engines: Sequence[FakeEngine]) -> list[int]:
    """How many examples each has computed."""
    return [sum(engine.batches) for engine in engines]
