"""The faults of a real TorchServe behind a real gateway that take longer to get over."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from support import harmful_handler as harm
from support.faults import (
    AWAY_AND_BACK,
    MAX_BATCH_SECONDS,
    RECOVERED_SECONDS,
    VERSIONS,
    Faults,
    answered_since,
    check_absence,
    while_it_starts,
)
from support.faulty import Faulty, asked, put_archive, starting
from support.handler import doubling
from support.running import children_of, command_of, is_running, parent_of, until
from support.torchscript import scripted

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed"
    ),
]
RENEWED = "torchserve token renewed"


async def test_a_torchserve_that_is_asked_to_end_is_started_again(faulty: Faulty) -> None:
    async with faulty.calling("line", 4) as outcomes, faulty.watching("") as statuses:
        os.kill(faulty.torchserve["pid"], signal.SIGTERM)
        await until(lambda: statuses == AWAY_AND_BACK)
        await faulty.until_ready(*VERSIONS)
        await answered_since(time.monotonic(), outcomes)

    check_absence(outcomes, 4)


async def test_a_torchserve_that_hangs_is_ended_and_started_again(faulty: Faulty) -> None:
    async with faulty.calling("line", 4) as outcomes, faulty.watching("") as statuses:
        os.kill(faulty.torchserve["pid"], signal.SIGSTOP)
        await until(lambda: statuses == AWAY_AND_BACK)
        await faulty.until_ready(*VERSIONS)

    assert faulty.logged("torchserve hangs; it is ended and started again")
    assert {call.code for call in outcomes} == {"OK", "DEADLINE_EXCEEDED", "UNAVAILABLE"}
    assert max(call.seconds for call in outcomes) < MAX_BATCH_SECONDS + 10
    assert sum(call.code == "DEADLINE_EXCEEDED" for call in outcomes) <= 4


def is_bound(listener: socket.socket, port: int) -> bool:
    """Whether it has the port now; who had it may still be going."""
    with suppress(OSError):
        listener.bind(("127.0.0.1", port))
    return bool(listener.getsockname()[1] == port)


async def test_a_port_that_was_taken_meanwhile_is_waited_for(faulty: Faulty) -> None:
    gateway, before = faulty.served.process.pid, faulty.torchserve
    port = int(before["grpc"].rpartition(":")[2])
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(gateway, signal.SIGSTOP)  # so that somebody is faster
        try:
            os.kill(before["pid"], signal.SIGKILL)
            await until(lambda: is_bound(somebody, port))
            somebody.listen()
        finally:
            os.kill(gateway, signal.SIGCONT)
        await until(lambda: len(faulty.logged("torchserve does not start")) > 1)
        assert str(port) in faulty.logged("torchserve does not start")[-1]["reason"]
        assert [await faulty.health(name) for name in ("", "liveness")] == ["NOT_SERVING", "SERVING"]
        assert (await faulty.ask("line")).code == "UNAVAILABLE"

    await faulty.until_ready(*VERSIONS)
    assert faulty.torchserve["grpc"] == before["grpc"]
    assert (await faulty.ask("line")).code == "OK"


async def test_an_archive_that_finds_no_room_is_tried_again(faulty: Faulty, faults: Faults) -> None:
    copy = faults.torchserve / "model-store" / "late-1.mar"
    copy.symlink_to("/dev/full")
    put_archive(faults.store, "late")
    await until(lambda: faulty.logged("model waits for its engine"))

    [waiting] = faulty.logged("model waits for its engine")
    assert waiting["reason"] == "TorchServe's model store takes no archive: No space left on device"
    await faulty.until_ready("late/1")
    assert (await faulty.ask("late")).code == "OK"


async def test_a_batch_that_torchserve_forgets_is_given_up(faulty: Faulty, faults: Faults) -> None:
    slow = await faults.keep_busy(faulty, "other")
    forgotten = asyncio.create_task(faulty.ask("other"))
    await asyncio.sleep(0.2)  # it has no sign that it has arrived
    unregistering = asyncio.create_task(faulty.manage("DELETE", "/models/other/1"))
    outcome = await forgotten
    await faulty.until_ready(*VERSIONS)

    assert (outcome.code, outcome.reason) == ("UNAVAILABLE", "ENGINE_UNAVAILABLE")
    assert outcome.seconds < 35  # by itself the call would end after 37 s
    assert (await faulty.ask("other")).code == "OK"
    await unregistering
    slow.cancel()  # TorchServe may have forgotten it as well
    await asyncio.gather(slow, return_exceptions=True)


async def test_few_http_users_wait_while_a_version_starts(faulty: Faulty, faults: Faults) -> None:
    before = workers(faulty)
    put_archive(faults.store, "slow", initialize_seconds=10.0)
    await until(lambda: workers(faulty) > before)
    posts = [asyncio.create_task(faulty.post("line", 3.0)) for _ in range(64)]
    _, waiting = await asyncio.wait(posts, timeout=3.0)
    assert await faulty.health("model/slow/1") == "NOT_SERVING"

    assert len(waiting) <= 8
    await asyncio.gather(*posts)
    await faulty.until_ready("slow/1")


def workers(faulty: Faulty) -> int:
    """How many of TorchServe's workers there are."""
    return sum("model_service_worker" in command_of(child) for child in children_of(faulty.torchserve["pid"]))


async def test_nobody_notices_that_tokens_are_renewed(faulty: Faulty) -> None:
    before, answers = len(faulty.logged(RENEWED)), []
    async with faulty.calling("line", 4) as outcomes:
        while len(faulty.logged(RENEWED)) < before + 6:  # three of each kind
            answers.append((await faulty.post("line", 3.0)).status_code)

    assert {outcome.code for outcome in outcomes} == {"OK"}
    assert set(answers) == {200}
    assert len(answers) > 100
    assert faulty.refused_tokens <= 6


async def test_logs_that_find_no_room_and_a_slow_start_do_no_harm(tmp_path: Path) -> None:
    store, torchserve = tmp_path / "model-store", tmp_path / "torchserve"
    (torchserve / "logs").mkdir(parents=True)
    torchserve.chmod(0o700)
    (torchserve / "logs" / "torchserve.log").symlink_to("/dev/full")
    store.mkdir()
    put_archive(store, "line", initialize_seconds=4.0)
    with starting(tmp_path, store, "--engine=torchserve", f"--torchserve-folder={torchserve}") as served:
        (await while_it_starts(served, "line")).check()
        async with asked(served) as faulty:
            outcomes = [await faulty.ask("line", harm.RAISE), await faulty.ask("line")]

    assert [outcome.code for outcome in outcomes] == ["INTERNAL", "OK"]


async def test_callers_of_the_embedded_engine_notice_nothing(tmp_path: Path) -> None:
    store = tmp_path / "model-store"
    store.mkdir()
    put_archive(store, "line", torchscript=scripted(doubling()))
    with starting(tmp_path, store, "--with-torchserve") as served:
        served.wait_for("serving")
        async with asked(served) as faulty, faulty.calling("line", 2) as outcomes:
            before = faulty.torchserve
            os.kill(parent_of(before["pid"]), signal.SIGKILL)  # who holds it on a leash: it goes as well
            await until(lambda: len(faulty.logged("torchserve started")) > 1)
            assert not is_running(before["pid"])
            await until_answered_over_http(faulty)
            os.kill(faulty.torchserve["pid"], signal.SIGKILL)
            await until(lambda: len(faulty.logged("torchserve ended; it is started again")) > 1)
        assert served.end() == 0  # while it is being started

    assert {outcome.code for outcome in outcomes} == {"OK"}
    assert not Path(before["tokens"]).parent.exists()


async def until_answered_over_http(faulty: Faulty) -> None:
    """Return when TorchServe answers an HTTP user of `line`."""
    async with asyncio.timeout(RECOVERED_SECONDS):
        while not (await faulty.post("line", 4.0)).is_success:  # noqa: ASYNC110 - see `until`
            await asyncio.sleep(0.1)


def test_the_gateway_ends_with_a_torchserve_that_is_not_to_be_started_again(tmp_path: Path) -> None:
    store = tmp_path / "model-store"
    store.mkdir()
    put_archive(store, "line")
    options = ("--engine=torchserve", "--exit-with-torchserve", "--torchserve-host=0.0.0.0")
    with starting(tmp_path, store, *options) as served:
        served.wait_for("serving")
        os.kill(served.events()["torchserve started"]["pid"], signal.SIGKILL)
        assert served.process.wait(RECOVERED_SECONDS) == 1

    assert served.events()["torchserve ended, and so does the gateway"]["status"] == -signal.SIGKILL
    assert "seqserve: TorchServe ended; its log says why, in " in served.log.read_text()
