"""How a gateway under load ends: drained by SIGTERM, or killed, and started again."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from support.checked import Checked, Figures, checked
from support.oip import details_of
from support.own_torchserve import OWN_TORCHSERVE, needs_torchserve, on_each_front
from support.paced import PACED, put_paced
from support.running import is_running
from support.served import STOP_SECONDS, TORCHSERVE_PORTS, Served, serving, started

CALLERS = 64
GRACE_SECONDS = 60
PAUSE_SECONDS = 0.5
WARM_CALLS = 200
NOBODY_LISTENS = "Connection refused"
REFUSALS = {"python": {"UNAVAILABLE", "CANCELLED"}, "native": {"UNAVAILABLE"}}
"""What new calls hear: grpc.aio may say CANCELLED of one that it had not begun with (docs/operations.md, Stopping)."""


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That model alone: each more is a process more of TorchServe's."""
    folder = tmp_path_factory.mktemp("paced")
    put_paced(folder)
    return folder


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

    def unavailable(self) -> list[tuple[float, grpc.aio.AioRpcError]]:
        """Of the calls that were UNAVAILABLE: when each began, and what its caller heard."""
        failed = [(began, outcome) for began, _, outcome in self.calls if outcome != "OK"]
        told = zip(failed, self.caller.errors, strict=True)
        return [(began, error) for (began, outcome), error in told if outcome == "UNAVAILABLE"]

    def first_refusal(self) -> float:
        """When the first call that was not answered ended."""
        return min(ended for _, ended, outcome in self.calls if outcome != "OK")


def is_refusal(error: grpc.aio.AioRpcError) -> bool:
    """Whether the gateway said that it ends; a call that is dropped fails in other words."""
    info = details_of(error).get("ErrorInfo")
    return info is not None and info.reason == "SHUTTING_DOWN"


def never_went(error: grpc.aio.AioRpcError) -> bool:
    """Whether the call had not left its caller, who was slow, when nobody listened any more."""
    return NOBODY_LISTENS in (error.details() or "")


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


async def until_ready(caller: Checked, model: str) -> None:
    """Return once the model answers: a gateway serves others while one waits for TorchServe."""
    while await caller.call(model=model) != "OK":
        await asyncio.sleep(0.05)
    caller.outcomes.clear()


async def warm(load: Load) -> None:
    """Return once calls have been answered and all callers are under way."""
    while len(load.calls) < WARM_CALLS:
        await asyncio.sleep(0.01)


async def drain_once(gateway: Served, model: str) -> tuple[Load, float]:
    """Under load; returns it and the seconds from the signal to the end."""
    async with checked(gateway.grpc) as caller, asyncio.TaskGroup() as tasks:
        await until_ready(caller, model)
        load = Load(caller)
        health = tasks.create_task(until_not_serving(gateway.health))
        for at in range(CALLERS):
            tasks.create_task(load.go_on(at, model))
        status, moment = await end(gateway, load, warm(load))
        took = time.monotonic() - moment
    assert status == 0
    assert took < GRACE_SECONDS + PAUSE_SECONDS
    assert load.in_flight(moment) == ["OK"] * CALLERS
    assert {"OK"} < load.caller.outcomes.keys() <= {"OK"} | REFUSALS[gateway.events()["listening"]["front"]]
    assert not load.caller.wrong
    assert health.result() < load.first_refusal()
    # callers who were slow themselves may find nobody who refuses them: then it is no earlier than this
    soonest = moment + PAUSE_SECONDS
    failed = load.unavailable()
    refusing = min((began for began, error in failed if is_refusal(error)), default=soonest)
    lost = [error for began, error in failed if began < refusing and not is_refusal(error)]
    assert [error for error in lost if not never_went(error)] == []
    assert "OK" in load.in_flight(refusing)
    return load, took


DRAIN = (
    "--health-port=0",
    f"--drain-pause-seconds={PAUSE_SECONDS}",
    f"--drain-grace-seconds={GRACE_SECONDS}",
)


@pytest.mark.parametrize("model", [PACED, pytest.param("digit", marks=pytest.mark.long)])
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.long)])
async def test_sigterm_with_64_calls_in_flight_loses_none_of_them(  # noqa: PLR0917 - what varies
    tmp_path: Path, models: Path, front: str, model: str, times: int, record_property: Figures
) -> None:
    gateways = (serving(tmp_path, models, f"--front={front}", *DRAIN) for _ in range(times))
    await drain_each(gateways, model, record_property)


@needs_torchserve
@pytest.mark.parametrize(("front", "times"), on_each_front(short=1, long=20), indirect=["front"])
async def test_sigterm_through_torchserve_loses_none_of_them_either(
    tmp_path: Path, paced: Path, front: str, times: int, record_property: Figures
) -> None:
    gateways = (serving(tmp_path, paced, f"--front={front}", OWN_TORCHSERVE, *DRAIN) for _ in range(times))
    await drain_each(gateways, PACED, record_property)


async def drain_each(gateways: Iterable[AbstractContextManager[Served]], model: str, record: Figures) -> None:
    """One after the other."""
    slowest, answered = 0.0, 0
    for starting in gateways:
        with starting as gateway:
            load, took = await drain_once(gateway, model)
            slowest, answered = max(slowest, took), answered + load.caller.outcomes["OK"]
    record("answered", answered)
    record("slowest_exit_seconds", slowest)


def free_port() -> int:
    """One that nobody has now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


async def until_killed(gateway: Served, model: str) -> set[int]:
    """Callers until it is gone and they have noticed; returns the ids of all that it had started, itself among them."""
    async with checked(gateway.grpc) as caller, asyncio.TaskGroup() as tasks:
        await until_ready(caller, model)
        for at in range(CALLERS):
            tasks.create_task(Load(caller).go_on(at, model))
        while caller.outcomes["OK"] < WARM_CALLS:
            await asyncio.sleep(0.01)
        family = gateway.family()
        gateway.process.send_signal(signal.SIGKILL)
        assert await asyncio.to_thread(gateway.process.wait, STOP_SECONDS) == -signal.SIGKILL
    assert caller.outcomes.keys() == {"OK", "UNAVAILABLE"}
    assert caller.outcomes["UNAVAILABLE"] == CALLERS, "each caller loses the one that is in flight"
    assert not caller.wrong
    return family


async def succession(folder: Path, store: Path, model: str, *options: str) -> float:
    """Kill one under load; at once the next one takes its ports; returns the seconds until that has answered."""
    with started(folder, store, *options) as gateway:
        gateway.wait_for("serving")
        family = await until_killed(gateway, model)
    moment = time.monotonic()
    with serving(folder, store, *options) as heir:
        async with checked(heir.grpc) as caller:
            await until_ready(caller, model)
            assert (await caller.call(range(64), model=model), caller.wrong) == ("OK", 0)
            took = time.monotonic() - moment
        assert not [member for member in family if is_running(member)]
    return took


@pytest.mark.long  # tests/e2e/test_serve.py kills one without load
@pytest.mark.parametrize("times", [10])
async def test_kill_9_is_unavailable_alone_and_the_next_one_takes_its_place(
    tmp_path: Path, models: Path, front: str, times: int, record_property: Figures
) -> None:
    options = (f"--front={front}", f"--grpc-port={free_port()}")
    took = [await succession(tmp_path, models, "digit", *options) for _ in range(times)]
    record_property("slowest_restart_seconds", max(took))


@needs_torchserve
@pytest.mark.long
@pytest.mark.parametrize("times", [pytest.param(5, id="torchserve-5")])
async def test_kill_9_takes_torchserve_along_and_the_next_one_has_its_ports_and_its_folder(
    tmp_path: Path, paced: Path, front: str, times: int, record_property: Figures
) -> None:
    ports = [f"--torchserve-{name}-port={free_port()}" for name in TORCHSERVE_PORTS]
    options = (
        f"--front={front}",
        f"--grpc-port={free_port()}",
        OWN_TORCHSERVE,
        f"--torchserve-folder={tmp_path / 'torchserve'}",
        *ports,
    )
    took = [await succession(tmp_path, paced, PACED, *options) for _ in range(times)]
    record_property("slowest_restart_seconds", max(took))
