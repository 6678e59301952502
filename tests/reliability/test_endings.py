"""How a gateway under load ends: drained by SIGTERM, or killed, and started again."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from support.checked import Checked, Figures, checked
from support.paced import PACED
from support.served import Served, serving, started

CALLERS = 64
GRACE_SECONDS = 60
PAUSE_SECONDS = 0.5
WARM_CALLS = 200


@dataclass
class Load:
    """Callers who go on until they are refused. calls: of each its beginning, its end (monotonic) and its outcome."""

    caller: Checked
    calls: list[tuple[float, float, str]] = field(default_factory=list)

    async def go_on(self, at: int, model: str) -> None:
        outcome = "OK"
        while outcome == "OK":
            began = time.monotonic()
            outcome = await self.caller.call([at % 64], model=model)
            self.calls.append((began, time.monotonic(), outcome))

    def in_flight(self, moment: float) -> list[str]:
        """Outcomes of the calls that were under way then."""
        return [outcome for began, ended, outcome in self.calls if began < moment < ended]

    def first_refusal(self) -> float:
        """When the first call that was not answered ended."""
        return min(ended for _, ended, outcome in self.calls if outcome != "OK")


async def until_not_serving(address: str) -> float:
    """When health says so to a watcher; it may have gone on to close the connection."""
    async with grpc.aio.insecure_channel(address) as channel:
        async for said in HealthStub(channel).Watch(HealthCheckRequest()):
            if said.status == HealthCheckResponse.NOT_SERVING:
                return time.monotonic()
    raise AssertionError("health ended without NOT_SERVING")


async def end(gateway: Served, load: Load, signalled: Awaitable[None]) -> tuple[int, float]:
    """Exit status, and when the signal went."""
    await signalled
    moment = time.monotonic()
    return await asyncio.to_thread(gateway.end), moment


async def warm(load: Load) -> None:
    """Return once calls have been answered and all callers are under way."""
    while len(load.calls) < WARM_CALLS:
        await asyncio.sleep(0.01)


async def drain_once(gateway: Served, model: str) -> tuple[Load, float]:
    """Under load; returns it and the seconds from the signal to the end."""
    async with checked(gateway.grpc) as caller, asyncio.TaskGroup() as tasks:
        load = Load(caller)
        health = tasks.create_task(until_not_serving(gateway.health))
        for at in range(CALLERS):
            tasks.create_task(load.go_on(at, model))
        status, moment = await end(gateway, load, warm(load))
        took = time.monotonic() - moment
    assert status == 0
    assert took < GRACE_SECONDS + PAUSE_SECONDS
    assert load.in_flight(moment) == ["OK"] * CALLERS
    assert load.caller.outcomes.keys() == {"OK", "UNAVAILABLE"}
    assert not load.caller.wrong
    assert health.result() < load.first_refusal()
    return load, took


@pytest.mark.parametrize("model", [PACED, pytest.param("digit", marks=pytest.mark.long)])
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.long)])
async def test_sigterm_with_64_calls_in_flight_loses_none_of_them(  # noqa: PLR0917 - what varies
    tmp_path: Path, models: Path, front: str, model: str, times: int, record_property: Figures
) -> None:
    options = (
        f"--front={front}",
        "--health-port=0",
        f"--drain-pause-seconds={PAUSE_SECONDS}",
        f"--drain-grace-seconds={GRACE_SECONDS}",
    )
    slowest, answered = 0.0, 0
    for _ in range(times):
        with serving(tmp_path, models, *options) as gateway:
            load, took = await drain_once(gateway, model)
            slowest, answered = max(slowest, took), answered + load.caller.outcomes["OK"]
    record_property("answered", answered)
    record_property("slowest_exit_seconds", slowest)


def free_port() -> int:
    """One that nobody has now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


async def until_killed(gateway: Served) -> None:
    """Callers until it is gone and they have noticed."""
    async with checked(gateway.grpc) as caller, asyncio.TaskGroup() as tasks:
        for at in range(CALLERS):
            tasks.create_task(Load(caller).go_on(at, "digit"))
        while caller.outcomes["OK"] < WARM_CALLS:
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(gateway.end, signal.SIGKILL) == -signal.SIGKILL
    assert caller.outcomes.keys() == {"OK", "UNAVAILABLE"}
    assert caller.outcomes["UNAVAILABLE"] == CALLERS, "each caller loses the one that is in flight"
    assert not caller.wrong


@pytest.mark.long  # tests/e2e/test_serve.py kills one without load
@pytest.mark.parametrize("times", [10])
async def test_kill_9_is_unavailable_alone_and_the_next_one_takes_its_place(
    tmp_path: Path, models: Path, front: str, times: int, record_property: Figures
) -> None:
    port, slowest = f"--grpc-port={free_port()}", 0.0
    for _ in range(times):
        with started(tmp_path, models, f"--front={front}", port) as gateway:
            gateway.wait_for("serving")
            await until_killed(gateway)
        moment = time.monotonic()
        with serving(tmp_path, models, f"--front={front}", port) as heir:
            async with checked(heir.grpc) as caller:
                assert (await caller.call(range(64)), caller.wrong) == ("OK", 0)
                slowest = max(slowest, time.monotonic() - moment)
    record_property("slowest_restart_seconds", slowest)
