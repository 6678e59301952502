"""The network between a caller and the gateway, and between the gateway and TorchServe, gets slow, narrow, silent, or is gone.

Whatever it does, an answer is right, a failure says what it is, and all is well again once the network is.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from seqserve.client import AsyncClient, PredictionError
from seqserve.native_front import library
from support.namespaces import Namespace, network
from support.oip import infer_request, inference_stub, rows_of
from support.running import until
from support.served import SEQSERVE, Served, serving, started
from support.tcp_relay import Relay, relay_to
from support.truth import IMAGES, MODEL, is_right, put_version

CALLERS, ANSWERS = 4, 20
CALL_SECONDS = 5.0
PAUSE_SECONDS = 0.02
LOST = 0.05
"""Of the packets that come, and of those that go."""
GONE = {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
"""What a caller may meet while the network behind the gateway is not what it should be."""

Outcomes = Counter[str]
Fault = Callable[[Relay], Awaitable[None]]


async def ask(channel: grpc.aio.Channel) -> str:
    """One call's code, or WRONG."""
    chosen = np.arange(3)
    try:
        request = infer_request(IMAGES[chosen], model=MODEL)
        reply = await inference_stub(channel).ModelInfer(request, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK" if is_right(rows_of(reply), reply.model_version, chosen) else "WRONG"


async def predict(client: AsyncClient) -> str:
    """The same by our own client, which tries again."""
    try:
        reply = await client.predict(IMAGES[:1], model=MODEL, timeout_seconds=10 * CALL_SECONDS)
    except PredictionError as error:
        return type(error).__name__
    answers = np.stack([answer.values for answer in reply.answers])
    return "OK" if is_right(answers, reply.version, np.arange(1)) else "WRONG"


@asynccontextmanager
async def calling(one: Callable[[], Awaitable[str]]) -> AsyncIterator[Outcomes]:
    """A few callers without a pause to speak of, for the length of the block; what they met, by its name."""
    outcomes: Outcomes = Counter()

    async def again_and_again() -> None:
        while True:
            outcomes[await one()] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async with asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(again_and_again()) for _ in range(CALLERS)]
        await until(lambda: outcomes["OK"] > ANSWERS)
        yield outcomes
        for caller in callers:
            caller.cancel()


async def more(outcomes: Outcomes, name: str = "OK") -> None:
    """Return when some more of them have come."""
    before = outcomes[name]
    await until(lambda: outcomes[name] > before + ANSWERS)


async def slow(relay: Relay) -> None:
    relay.delay_seconds = 0.1


async def narrow(relay: Relay) -> None:
    relay.bytes_per_second = 50_000.0


async def silent_for_a_while(relay: Relay) -> None:
    relay.stall()
    await asyncio.sleep(2)
    relay.resume()


async def reset_again_and_again(relay: Relay) -> None:
    for _ in range(5):
        relay.cut_off()
        await asyncio.sleep(0.3)


FAULTS = [slow, narrow, silent_for_a_while, reset_again_and_again]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    put_version(folder, "1")
    return folder


@pytest.mark.parametrize("front", ["python", "native"])
@pytest.mark.parametrize(
    "fault",
    [reset_again_and_again, *(pytest.param(fault, marks=pytest.mark.long) for fault in FAULTS[:-1])],
)
async def test_our_client_gets_every_answer_over_a_network_that_is(
    tmp_path: Path, store: Path, front: str, fault: Fault
) -> None:
    if front == "native" and library.why_not():
        pytest.skip(library.why_not())
    with serving(tmp_path, store, f"--front={front}") as gateway:
        async with relay_to(gateway.grpc) as relay, AsyncClient(relay.address) as client:
            async with calling(lambda: predict(client)) as outcomes:
                await fault(relay)
                await more(outcomes)
            await until_nothing_is_left(gateway, connections=1)

    assert set(outcomes) == {"OK"}


async def lossy(link: Namespace) -> None:
    link.lose(LOST)
    await asyncio.sleep(5)
    assert link.lose_nothing()


async def parted(link: Namespace) -> None:
    link.cut()
    await asyncio.sleep(5)
    link.mend()


@pytest.mark.long
@pytest.mark.parametrize("front", ["python", "native"])
@pytest.mark.parametrize("fault", [parted, lossy])
async def test_our_client_gets_every_answer_over_a_link_that_is(
    tmp_path: Path, store: Path, front: str, fault: Callable[[Namespace], Awaitable[None]]
) -> None:
    if front == "native" and library.why_not():
        pytest.skip(library.why_not())
    with network() as lan:
        link = lan.namespace()
        options = (f"--front={front}", "--host=0.0.0.0")
        with started(tmp_path, store, *options, program=link.within(str(SEQSERVE))) as gateway:
            await asyncio.to_thread(gateway.wait_for, "serving")
            port = gateway.grpc.rpartition(":")[2]
            async with (
                AsyncClient(f"{link.address}:{port}") as client,
                calling(lambda: predict(client)) as outcomes,
            ):
                await fault(link)
                await more(outcomes)

    assert set(outcomes) == {"OK"}


async def until_nothing_is_left(gateway: Served, connections: int) -> None:
    """Return when no more sockets are connected to the gateway's gRPC port than that."""
    port = int(gateway.grpc.rpartition(":")[2])
    await until(lambda: connected_to(port) <= connections)


def connected_to(port: int) -> int:
    """Established connections at that port of this machine, by /proc/net/tcp."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[1].rpartition(":")[2], 16) == port and row[3] == "01" for row in rows)


class TorchServeElsewhere:
    """A gateway with a TorchServe that others may use."""

    def __init__(self, served: Served, host: str) -> None:
        started = served.events()["torchserve started"]
        self.address = f"{host}:{started['grpc'].rpartition(':')[2]}"
        self.tokens = str(started["tokens"])


@contextmanager
def torchserve_in(namespace: Namespace, folder: Path, store: Path) -> Iterator[TorchServeElsewhere]:
    """Beside a gateway of its own, in a network of its own."""
    folder.mkdir()
    program = namespace.within(str(SEQSERVE))
    options = ("--engine=torchserve", "--torchserve-host=0.0.0.0")
    with serving(folder, store, *options, program=program) as served:
        yield TorchServeElsewhere(served, namespace.address)


@asynccontextmanager
async def before(
    torchserve: TorchServeElsewhere, address: str, folder: Path, store: Path
) -> AsyncIterator[tuple[Served, grpc.aio.Channel]]:
    """A gateway that runs its models there, and a way to it."""
    options = (
        "--engine=torchserve",
        f"--torchserve-address={address}",
        f"--torchserve-token-file={torchserve.tokens}",
    )
    with started(folder, store, *options) as gateway:  # in threads: the loop has a network to play
        await asyncio.to_thread(gateway.wait_for, "serving")
        async with grpc.aio.insecure_channel(gateway.grpc) as channel:
            yield gateway, channel
        assert await asyncio.to_thread(gateway.end) == 0, gateway.log.read_text()


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_network_to_torchserve_that_is(tmp_path: Path, store: Path, fault: Fault) -> None:
    with network() as lan, torchserve_in(lan.namespace(), tmp_path / "far", store) as torchserve:
        async with (
            relay_to(torchserve.address) as relay,
            before(torchserve, relay.address, tmp_path, store) as (gateway, channel),
        ):
            async with calling(lambda: ask(channel)) as outcomes:
                await fault(relay)
                await more(outcomes)
            assert logged(gateway, "model ready") == 1

    assert set(outcomes) <= GONE


@pytest.mark.long
async def test_a_partition_between_gateway_and_torchserve_takes_the_model_away_and_its_end_brings_it_back(
    tmp_path: Path, store: Path
) -> None:
    with network() as lan:
        there = lan.namespace()
        with torchserve_in(there, tmp_path / "far", store) as torchserve:
            async with (
                before(torchserve, torchserve.address, tmp_path, store) as (_, channel),
                calling(lambda: ask(channel)) as outcomes,
            ):
                there.cut()
                await more(outcomes, "UNAVAILABLE")
                there.mend()
                await more(outcomes)

    assert set(outcomes) <= GONE


@pytest.mark.long
async def test_a_link_to_torchserve_that_loses_packets(tmp_path: Path, store: Path) -> None:
    with network() as lan:
        there = lan.namespace()
        with torchserve_in(there, tmp_path / "far", store) as torchserve:
            async with (
                before(torchserve, torchserve.address, tmp_path, store) as (_, channel),
                calling(lambda: ask(channel)) as outcomes,
            ):
                await lossy(there)
                await more(outcomes)

    assert set(outcomes) <= GONE


def logged(gateway: Served, event: str) -> int:
    """How many lines of the log tell of that event."""
    lines = gateway.log.read_text().rpartition("\n")[0].splitlines()
    return sum(json.loads(line)["event"] == event for line in lines if line.startswith("{"))
