"""A real TorchServe behind a real gateway, hurt in every way that we could think of.

All tests share one gateway, and leave it as whole as they found it. Its tokens live for seconds, so whatever
happens, happens while they are renewed. Those that take longer stand in test_torchserve_outages.py.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import httpx
import pytest

from support import harmful_handler as harm
from support.checked import Figures
from support.faults import (
    AWAY_AND_BACK,
    MAX_BATCH_SECONDS,
    RECOVERED_SECONDS,
    VERSIONS,
    Faults,
    answered_since,
    check_absence,
)
from support.faulty import Faulty
from support.running import is_running, until
from support.served import plain_lines, run

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed"
)
FULL = 503
DRIFT = "torchserve has drifted"


def test_while_it_starts_it_is_alive_and_not_ready(faults: Faults) -> None:
    faults.start.check()


@pytest.mark.parametrize(
    "number", [harm.RAISE, harm.FEW_REPLIES, harm.FEW_ROWS, harm.GARBAGE, harm.NAN],
    ids=["exception", "few replies", "few rows", "garbage", "NaN"],
)  # fmt: skip
async def test_nonsense_is_an_internal_error_of_one_call(faulty: Faulty, number: float) -> None:
    async with faulty.calling("other", 2) as neighbours, faulty.watching("model/line") as statuses:
        broken = await faulty.ask("line", number)
        after = await faulty.ask("line")

    assert (broken.code, broken.reason, broken.retry_seconds) == ("INTERNAL", "INTERNAL", 0.0)
    assert broken.words.startswith("internal error; request id ")
    assert after.code == "OK"
    assert {outcome.code for outcome in neighbours} == {"OK"}
    assert statuses == ["SERVING"]


async def test_a_queue_that_http_users_have_filled_is_an_overload(faulty: Faulty, faults: Faults) -> None:
    slow = await faults.keep_busy(faulty, "line/2")
    posts = [asyncio.create_task(faulty.post("line/2", 1.0)) for _ in range(150)]
    await until(lambda: FULL in codes_of(posts))
    outcome = await faulty.ask("line", version="2")
    await asyncio.gather(slow, *posts)

    assert (outcome.code, outcome.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
    assert outcome.retry_seconds > 0
    assert (await faulty.ask("line", version="2")).code == "OK"


def codes_of(posts: Sequence[asyncio.Task[httpx.Response]]) -> set[int]:
    """HTTP codes of those that are answered."""
    return {post.result().status_code for post in posts if post.done()}


async def test_metrics_of_torchserve_stand_beside_ours(faulty: Faulty) -> None:
    await faulty.ask("line")
    metrics = await faulty.metrics()

    assert metrics["seqserve_model_state", "line", "ready", "1"] == 1.0
    assert any(name == "ts_inference_requests_total" and "line" in rest for name, *rest in metrics)


async def test_a_killed_worker_takes_one_model_away(faulty: Faulty, record_property: Figures) -> None:
    async with (
        faulty.calling("other", 6) as outcomes,
        faulty.calling("line", 2) as neighbours,
        faulty.watching("model/other") as statuses,
    ):
        worker, killed = await faulty.worker("other"), time.monotonic()
        os.kill(worker, signal.SIGKILL)
        await until(lambda: statuses == AWAY_AND_BACK)
        back = time.monotonic()
        await answered_since(back, outcomes)

    record_property("recovered_seconds", back - killed)
    assert back - killed < RECOVERED_SECONDS
    check_absence(outcomes, 6)
    assert {outcome.code for outcome in neighbours} == {"OK"}
    assert await faulty.health("") == "SERVING"


async def test_a_worker_that_hangs_is_replaced(faulty: Faulty) -> None:
    worker = await faulty.worker("line", "2")
    async with faulty.calling("other", 2) as neighbours, faulty.watching("model/line/2") as statuses:
        hung = await faulty.ask("line", harm.HANG, version="2")
        refused = await faulty.ask("line", version="2")
        unlabelled = await faulty.ask("line")
        await until(lambda: statuses == AWAY_AND_BACK)

    assert (hung.code, hung.seconds > 0.9 * MAX_BATCH_SECONDS) == ("DEADLINE_EXCEEDED", True)
    assert (refused.code, refused.retry_seconds > 0) == ("UNAVAILABLE", True)
    assert {outcome.code for outcome in [unlabelled, *neighbours]} == {"OK"}
    assert not is_running(worker)
    assert (await faulty.ask("line", version="2")).code == "OK"


async def test_what_somebody_changes_in_torchserve_is_put_right(faulty: Faulty) -> None:
    before = await faulty.metrics()
    async with faulty.calling("other", 2) as outcomes:
        await faulty.manage("POST", "/models", url="line-1.mar", model_name="stray", initial_workers=0)
        await faulty.manage("PUT", "/models/line/2/set-default")
        await faulty.manage("PUT", "/models/line/2", min_worker=0, max_worker=0, synchronous="true")
        unregistered = time.monotonic()
        await faulty.manage("DELETE", "/models/other/1")
        drifts = {("unexpected", "stray"), ("default", "line"), ("workers", "line"), ("missing", "other")}
        await until(lambda: drifts <= {(one["what"], one["model"]) for one in faulty.logged(DRIFT)})
        await answered_since(unregistered + 1, outcomes)
    await faulty.until_ready(*VERSIONS)

    check_absence(outcomes, 2)
    models = (await faulty.manage("GET", "/models"))["models"]
    assert "stray" not in [model["modelName"] for model in models]
    assert (await faulty.manage("GET", "/models/line"))[0]["modelVersion"] == "1"
    assert (await faulty.ask("line", version="2")).code == "OK"
    after = await faulty.metrics()
    for what, _ in drifts:
        name = "seqserve_engine_drift_total", what
        assert after[name] - before.get(name, 0.0) == 1.0


async def test_a_killed_torchserve_is_started_again(faulty: Faulty, record_property: Figures) -> None:
    before, keys, metrics = faulty.torchserve, faulty.keys(), await faulty.metrics()
    async with AsyncExitStack() as stack:
        outcomes = [await stack.enter_async_context(faulty.calling(name, 3)) for name in ("line", "other")]
        statuses = [
            await stack.enter_async_context(faulty.watching(name))
            for name in ("", "model/line/2", "liveness")
        ]
        descriptors, killed = faulty.descriptors(), time.monotonic()
        os.kill(before["pid"], signal.SIGKILL)
        await until(lambda: statuses[0][-1] == "NOT_SERVING")
        assert await faulty.health("liveness") == "SERVING"
        await faulty.until_ready(*VERSIONS)
        back = time.monotonic()
        for calls in outcomes:
            await answered_since(back, calls)
        await until(lambda: faulty.descriptors() <= descriptors)

    record_property("recovered_seconds", back - killed)
    assert back - killed < RECOVERED_SECONDS
    for calls in outcomes:
        check_absence(calls, 3)
    assert statuses == [AWAY_AND_BACK, AWAY_AND_BACK, ["SERVING"]]
    ports = ("http", "grpc", "management", "tokens", "logs")
    assert [faulty.torchserve[name] for name in ports] == [before[name] for name in ports]
    assert faulty.torchserve["pid"] != before["pid"]
    assert keys["API"] != faulty.keys()["API"]
    assert (await faulty.post("line", 4.0)).json() == {"version": "1", "doubled": 8.0}
    after = await faulty.metrics()
    grown = {
        name for name in after if name[0].startswith("seqserve_engine_") and after[name] != metrics.get(name)
    }
    assert grown == {("seqserve_engine_restarts_total",)}


def test_a_port_that_is_taken_keeps_it_from_starting(faults: Faults) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        port = somebody.getsockname()[1]
        free = [
            f"--torchserve-{name}-port=0" for name in ("http", "management", "metrics", "grpc-management")
        ]
        ended = run(
            "serve", "--engine=torchserve", "--model-store", faults.store, "--log-format=json",
            "--grpc-port=0", "--http-port=0", f"--torchserve-grpc-port={port}", *free,
        )  # fmt: skip

    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = plain_lines(ended.stderr)
    assert line.startswith(f"seqserve: torchserve_grpc_port: TorchServe cannot listen on 127.0.0.1:{port}")
    assert "--torchserve-grpc-port" in line


async def test_no_token_is_ever_told(faulty: Faulty, faults: Faults) -> None:
    faulty.keys()
    page = (await faulty.http.get(f"{faults.served.http}/metrics")).text
    logs = [faults.served.log, *(faults.torchserve / "logs").iterdir()]
    told = [page, run("config", f"--torchserve-folder={faults.torchserve}").stdout]
    told += [log.read_text() for log in logs]

    assert {log.name for log in logs} >= {"gateway.log", "console.log", "torchserve.log"}
    assert not [token for token in faults.tokens for text in told if token in text]
