"""A real Prometheus and `seqserve serve` before a real TorchServe: its relayed metrics, its end, the gateway's."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from support import harmful_handler as harm
from support.faults import Faults, sharing
from support.faulty import Faulty, asked, put_archive, starting
from support.prometheus import Prometheus, needs_prometheus, running_prometheus
from support.promql import TORCHSERVE, dashboard_exprs, names
from support.served import STOP_SECONDS

pytestmark = [needs_prometheus, pytest.mark.long]

CALLS = 20


def test_torchserve_is_shown_and_its_end_and_the_gateways_fire(tmp_path: Path) -> None:
    folder = tmp_path / "faults"
    folder.mkdir()
    with sharing(folder) as faults:
        asyncio.run(watch(tmp_path / "prometheus", faults))


async def watch(folder: Path, faults: Faults) -> None:
    instance = faults.served.http.removeprefix("http://")
    jobs = [{"job_name": "seqserve", "static_configs": [{"targets": [instance]}]}]
    async with asked(faults.served) as faulty, running_prometheus(folder, jobs) as prometheus:
        await faulty.until_ready("line/1", "other/1")
        await call(faulty)
        await prometheus.until_scraped()
        await every_panel_of_torchserve_has_data(prometheus)
        await a_torchserve_that_ends_fires(faulty, prometheus)
        await a_gateway_that_is_killed_fires(faulty, prometheus)


async def call(faulty: Faulty) -> None:
    """Through the gateway, and over TorchServe's own HTTP with a fault of the handler."""
    for _ in range(CALLS):
        assert (await faulty.ask("line")).code == "OK"
    assert (await faulty.post("line", 1.0)).is_success
    assert not (await faulty.post("other", harm.RAISE)).is_success


async def every_panel_of_torchserve_has_data(prometheus: Prometheus) -> None:
    exprs = [expr for _, expr in dashboard_exprs() if names(expr) & TORCHSERVE]
    assert len(exprs) == len(TORCHSERVE)
    assert [expr for expr in exprs if not await prometheus.numbers(expr)] == []
    relayed = 'ts_inference_requests_total{model_name="line", model_version="1"}'
    assert await prometheus.value(relayed) >= CALLS


async def a_torchserve_that_ends_fires(faulty: Faulty, prometheus: Prometheus) -> None:
    os.kill(int(faulty.torchserve["pid"]), signal.SIGKILL)
    await until_firing(prometheus, "SeqserveTorchServeRestarted")


async def a_gateway_that_is_killed_fires(faulty: Faulty, prometheus: Prometheus) -> None:
    faulty.served.process.kill()
    await until_firing(prometheus, "SeqserveGatewayDown")


def test_a_gateway_that_ends_with_its_torchserve_and_is_started_again_fires(tmp_path: Path) -> None:
    store = tmp_path / "model-store"
    store.mkdir()
    put_archive(store, "line")
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    asyncio.run(watch_it_start_again(tmp_path / "prometheus", store, *folders))


async def watch_it_start_again(folder: Path, store: Path, first: Path, second: Path) -> None:
    options = ("--engine=torchserve", "--exit-with-torchserve")
    with starting(first, store, *options) as served:
        served.wait_for("serving")
        instance = served.http.removeprefix("http://")
        jobs = [{"job_name": "seqserve", "static_configs": [{"targets": [instance]}]}]
        async with running_prometheus(folder, jobs) as prometheus:
            await prometheus.until_scraped()
            os.kill(int(served.events()["torchserve started"]["pid"]), signal.SIGKILL)
            assert await asyncio.to_thread(served.process.wait, STOP_SECONDS) == 1
            await until_firing(prometheus, "SeqserveGatewayDown")
            port = instance.rpartition(":")[2]
            with starting(second, store, *options, f"--http-port={port}") as again:
                again.wait_for("serving")
                await until_firing(prometheus, "SeqserveTorchServeRestarted")
                restarts = f'seqserve_engine_restarts_total{{instance="{instance}"}}'
                assert await prometheus.value(restarts) == 0, "the process tells, not the count"


async def until_firing(prometheus: Prometheus, name: str) -> None:
    async def is_firing() -> bool:
        return name in [alert["alertname"] for alert in await prometheus.alerts()]

    await prometheus.until(is_firing)
