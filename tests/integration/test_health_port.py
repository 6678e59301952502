"""Health on a port of its own: the same answers, also while the event loop is stuck."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from seqserve.errors import AddressInUse
from seqserve.gateway import Gateway
from seqserve.grpc_api.health_port import MOST_WATCHES
from support.access import Tokens
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway, settings_for_tests
from support.oip import send_bytes, words_of

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
NAMES = ["", "liveness", "inference.GRPCInferenceService", "model/tiny", "model/tiny/1"]
SECONDS = 10.0  # for what takes milliseconds: a test must not hang


def asks(name: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=name)


def check_once(address: str, name: str) -> int:
    """As a probe does: a connection for one Check, with the synchronous client."""
    with grpc.insecure_channel(address) as channel:
        return int(HealthStub(channel).Check(asks(name), timeout=SECONDS).status)


@pytest.fixture
async def gateway(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    async with running_gateway([make_archive(tmp_path)], engine, health_port=0) as running:
        yield running


@pytest.fixture
def address(gateway: Gateway) -> str:
    return f"127.0.0.1:{gateway.ports['health']}"


@pytest.fixture
async def probe(address: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel


async def test_both_kinds_of_clients_get_the_answers_of_the_main_port(
    address: str, probe: grpc.aio.Channel
) -> None:
    for name in NAMES:
        assert (await HealthStub(probe).Check(asks(name))).status == SERVING
        assert await asyncio.to_thread(check_once, address, name) == SERVING


async def test_either_port_lists_every_name(gateway: Gateway, probe: grpc.aio.Channel) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as main:
        for channel in (main, probe):
            listed = await HealthStub(channel).List(health_pb2.HealthListRequest())
            statuses = {name: found.status for name, found in listed.statuses.items()}
            assert statuses.keys() >= set(NAMES)
            assert set(statuses.values()) == {SERVING}


async def test_without_the_setting_there_is_no_such_port(tmp_path: Path, engine: FakeEngine) -> None:
    async with running_gateway([make_archive(tmp_path)], engine) as gateway:
        assert "health" not in gateway.ports


async def test_an_unknown_name_is_not_found_and_a_watch_waits_for_it(
    tmp_path: Path, engine: FakeEngine
) -> None:
    archives = [make_archive(tmp_path)]
    async with (
        running_gateway(archives, engine, health_port=0) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.ports['health']}") as probe,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await HealthStub(probe).Check(asks("model/late"))
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        assert "model/late" in words_of(refusal.value)

        watch = HealthStub(probe).Watch(asks("model/late"), timeout=SECONDS)
        assert (await watch.read()).status == SERVICE_UNKNOWN
        archives.append(make_archive(tmp_path, "late"))
        await gateway.sync()
        heard = [(await watch.read()).status]
        if heard == [NOT_SERVING]:  # while it was loaded; a quick load goes unseen
            heard.append((await watch.read()).status)
        assert heard[-1] == SERVING


@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_malformed_protobuf_is_an_invalid_argument(probe: grpc.aio.Channel, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await send_bytes(probe, f"/grpc.health.v1.Health/{method}", b"\xff")

    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "HealthCheckRequest" in words_of(refusal.value)


async def test_it_answers_while_the_event_loop_is_blocked(gateway: Gateway, address: str) -> None:
    is_answered = threading.Event()
    answers: list[object] = []

    def ask() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as main:
            try:
                HealthStub(main).Check(asks(""), timeout=0.3)
            except grpc.RpcError as error:
                answers.append(error.code())
        answers.extend(check_once(address, name) for name in NAMES)
        is_answered.set()

    asker = threading.Thread(target=ask)
    asker.start()
    is_blocked_until_answered = is_answered.wait(SECONDS)  # on the loop's own thread, on purpose
    asker.join()

    assert is_blocked_until_answered
    assert answers == [grpc.StatusCode.DEADLINE_EXCEEDED, *[SERVING] * len(NAMES)]


async def test_a_synchronous_watcher_hears_of_a_change_and_of_the_drain(
    tmp_path: Path, engine: FakeEngine
) -> None:
    heard: list[int] = []
    is_watching = threading.Event()

    def watch(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            for reply in HealthStub(channel).Watch(asks("model/tiny"), timeout=SECONDS):
                heard.append(reply.status)
                is_watching.set()

    async with running_gateway([make_archive(tmp_path)], engine, health_port=0) as gateway:
        watching = asyncio.create_task(asyncio.to_thread(watch, f"127.0.0.1:{gateway.ports['health']}"))
        await asyncio.to_thread(is_watching.wait, SECONDS)
        await gateway.drain()
        await watching  # it ended as OK: otherwise it would raise

    assert heard == [SERVING, NOT_SERVING]


async def test_liveness_is_serving_to_the_end_of_the_drain_and_nothing_else_is(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with running_gateway([make_archive(tmp_path)], engine, health_port=0) as gateway:
        address = f"127.0.0.1:{gateway.ports['health']}"
        engine.hold()
        async with grpc.aio.insecure_channel(address) as probe:
            watch = HealthStub(probe).Watch(asks(""), timeout=SECONDS)
            assert (await watch.read()).status == SERVING
            draining = asyncio.create_task(gateway.drain())
            assert (await watch.read()).status == NOT_SERVING
            answers = {name: await asyncio.to_thread(check_once, address, name) for name in NAMES}
            await draining
            assert await watch.code() is grpc.StatusCode.OK
        with pytest.raises(grpc.RpcError) as refusal:
            await asyncio.to_thread(check_once, address, "liveness")

    assert answers == {name: SERVING if name == "liveness" else NOT_SERVING for name in NAMES}
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_watches_never_take_the_room_of_checks(probe: grpc.aio.Channel) -> None:
    stub = HealthStub(probe)
    watches = [stub.Watch(asks(""), timeout=SECONDS) for _ in range(MOST_WATCHES)]
    for watch in watches:
        assert (await watch.read()).status == SERVING

    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.Watch(asks(""), timeout=SECONDS).read()
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await stub.Check(asks(""), timeout=SECONDS)).status == SERVING

    for watch in watches:
        watch.cancel()
    await until_a_watch_is_taken(stub)


async def until_a_watch_is_taken(stub: HealthStub) -> None:
    """The server hears of a caller that left a little later."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                assert (await stub.Watch(asks(""), timeout=SECONDS).read()).status == SERVING
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017 - the other end is the return
            else:
                return


async def test_a_port_that_is_taken_is_named(gateway: Gateway) -> None:
    second = Gateway(settings_for_tests(health_port=gateway.ports["health"]))

    with pytest.raises(AddressInUse, match="health_port: cannot listen"):
        await second.start()
    await second.drain()


async def told_of(probe: grpc.aio.Channel, name: str) -> tuple[int | None, int]:
    """What Check and the first message of Watch say; None for the refusal that any unknown name gets."""
    stub = HealthStub(probe)
    check = stub.Check(asks(name), timeout=SECONDS)
    refusal = (grpc.StatusCode.NOT_FOUND, f"nothing here is called {name!r}")
    is_unknown = (await check.code(), await check.details()) == refusal
    checked = None if is_unknown else (await check).status
    watch = stub.Watch(asks(name), timeout=SECONDS)
    watched = (await watch.read()).status
    watch.cancel()
    return checked, watched


async def test_where_callers_need_a_token_it_tells_strangers_of_no_model(
    tmp_path: Path, engine: FakeEngine
) -> None:
    """Probes ask for the whole, or for liveness; names are for who may call the models."""
    clients = Tokens().clients()
    async with (
        running_gateway([make_archive(tmp_path)], engine, clients=clients, health_port=0) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.ports['health']}") as probe,
    ):
        told = {name: await told_of(probe, name) for name in [*NAMES, "model/nobody"]}
        listed = await HealthStub(probe).List(health_pb2.HealthListRequest())

    unknown = (None, SERVICE_UNKNOWN)
    assert told == {name: unknown if "model/" in name else (SERVING, SERVING) for name in told}
    assert {"", "liveness", "inference.GRPCInferenceService"} <= listed.statuses.keys()
    assert not [name for name in listed.statuses if "tiny" in name]


async def test_once_callers_need_a_token_strangers_watch_no_model(
    gateway: Gateway, probe: grpc.aio.Channel
) -> None:
    watch = HealthStub(probe).Watch(asks("model/tiny"), timeout=SECONDS)
    heard = [(await watch.read()).status]
    await gateway.apply(settings_for_tests(clients=Tokens().clients()))
    heard.append((await watch.read()).status)
    watch.cancel()

    assert heard == [SERVING, SERVICE_UNKNOWN]
    assert await told_of(probe, "model/tiny") == (None, SERVICE_UNKNOWN)
