"""A real Prometheus scrapes live gateways of both fronts to which everything happens that the dashboard shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio

from seqserve import certificates
from seqserve.metrics.rows import SECONDS
from seqserve.native_front import library
from support.mishaps import Scene, staged
from support.prometheus import Prometheus, needs_prometheus, running_prometheus
from support.promql import dashboard_exprs, rules
from support.scraped import BATCH_SECONDS, Target

pytestmark = [needs_prometheus, pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]

FRONTS = ["python"] if library.why_not() else ["python", "native"]
STEADY_SECONDS = 4
MISHAPS = 2
CODES = {"INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
"""What mishaps are to callers."""


@dataclass
class Watched:
    """The gateways, the Prometheus that watches them, and a time at which there had been nothing but calls."""

    scene: Scene
    prometheus: Prometheus
    steady_end: float


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    folders = {name: tmp_path_factory.mktemp(name) for name in (*FRONTS, "guarded")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "LOOK_SECONDS", 0.0)
        async with AsyncExitStack() as stack:
            scene = await stack.enter_async_context(staged(folders))
            starting = running_prometheus(tmp_path_factory.mktemp("prometheus"), scene.jobs)
            prometheus = await stack.enter_async_context(starting)
            await prometheus.until_scraped(1)
            for _ in range(MISHAPS):
                await scene.suffer()
                await prometheus.until_scraped(1)
            yield Watched(scene, prometheus, await steady(scene, prometheus))


async def steady(scene: Scene, prometheus: Prometheus) -> float:
    """The end of some seconds in which there were nothing but calls."""
    async with asyncio.TaskGroup() as group:
        is_over = asyncio.Event()

        async def load(target: Target) -> None:
            async with target.load():
                await is_over.wait()

        for target in scene.plain.values():
            group.create_task(load(target))
        await prometheus.until_scraped(STEADY_SECONDS + 2)
        ended = time.time()
        is_over.set()
    await prometheus.until_scraped(1)
    return ended


@pytest.fixture(params=FRONTS)
def target(watched: Watched, request: pytest.FixtureRequest) -> Target:
    return watched.scene.plain[request.param]


async def test_every_query_of_the_dashboard_returns_data(watched: Watched) -> None:
    empty = [title for title, expr in dashboard_exprs() if not await watched.prometheus.numbers(expr)]
    assert empty == []


async def test_every_recording_rule_has_made_series(watched: Watched) -> None:
    names = [rule["record"] for rule in rules("record")]
    assert [name for name in names if not await watched.prometheus.numbers(name)] == []


async def test_every_rule_is_evaluated_and_its_expression_can_be_asked(watched: Watched) -> None:
    evaluated = await watched.prometheus.rules()
    assert [rule for rule in evaluated if rule["health"] != "ok"] == []
    assert len(evaluated) == len([*rules("record"), *rules("alert")])
    for rule in evaluated:
        await watched.prometheus.query(rule["query"])


async def test_each_front_is_a_target_of_its_own(watched: Watched) -> None:
    for front, target in watched.scene.plain.items():
        [info] = await watched.prometheus.query(f'seqserve_build_info{{instance="{target.instance}"}}')
        assert info.labels["front"] == front
    assert await watched.prometheus.value("min(up)") == 1


async def test_calls_are_counted_as_they_were_made(watched: Watched, target: Target) -> None:
    counted = await watched.prometheus.query(
        f'sum by (code) (seqserve_requests_total{{instance="{target.instance}"}})'
    )
    codes = {sample.labels["code"]: sample.value for sample in counted if sample.value}
    codes.pop("CANCELLED", None)  # of those who left: they saw no code
    assert codes == target.codes
    assert codes.keys() == CODES | {"OK"}


async def test_the_rate_is_that_of_the_callers(watched: Watched, target: Target) -> None:
    matchers = f'{{instance="{target.instance}", code="OK"}}'
    [rate] = await watched.prometheus.query(
        f"sum(rate(seqserve_requests_total{matchers}[{STEADY_SECONDS}s]))", time=watched.steady_end
    )
    began = watched.steady_end - STEADY_SECONDS
    answers = [ended for ended, _ in target.answered if began < ended <= watched.steady_end]
    assert rate.value == pytest.approx(len(answers) / STEADY_SECONDS, rel=0.35)


async def test_p99_is_within_the_buckets_of_what_callers_saw(watched: Watched, target: Target) -> None:
    [p99] = await watched.prometheus.query(
        "histogram_quantile(0.99, sum by (le) (rate(seqserve_request_seconds_bucket"
        f'{{instance="{target.instance}"}}[{STEADY_SECONDS}s])))',
        time=watched.steady_end,
    )
    slowest = max(took for ended, took in target.answered if ended > watched.steady_end - STEADY_SECONDS - 2)
    below = max(bound for bound in SECONDS if bound < BATCH_SECONDS)
    assert below < p99.value <= min(bound for bound in SECONDS if bound >= slowest)


async def test_what_was_refused_and_dropped_is_told_by_its_cause(watched: Watched, target: Target) -> None:
    refused = f'seqserve_refused_examples_total{{instance="{target.instance}", cause="full"}}'
    assert await watched.prometheus.value(f"sum({refused})") == MISHAPS
    matchers = f'instance="{target.instance}", cause=~"departed|expired"'
    dropped = await watched.prometheus.value(f"sum(seqserve_dropped_examples_total{{{matchers}}})")
    in_hanging_batches = MISHAPS
    assert dropped == MISHAPS + target.codes["DEADLINE_EXCEEDED"] - in_hanging_batches


async def test_what_is_wrong_fires_and_what_is_not_does_not(watched: Watched) -> None:
    expected = {
        "SeqserveGoldenCheckFailed", "SeqserveReloadRefused", "SeqserveVersionFailed", "SeqserveConfigRefused",
        "SeqserveTlsReloadRefused", "SeqserveCertificateExpiresSoon", "SeqserveCertificateExpires", "SeqserveTorchServeDrift",
    }  # fmt: skip

    async def firing() -> bool:
        return expected <= {alert["alertname"] for alert in await watched.prometheus.alerts()}

    await watched.prometheus.until(firing)
    fired = {alert["alertname"] for alert in await watched.prometheus.alerts()}
    well = {"GatewayDown", "GatewayAbsent", "NoReadyVersion", "BatchesHang", "GpuMemoryFull", "OutOfMemory"}
    assert fired.isdisjoint({f"Seqserve{name}" for name in well})


async def test_a_hanging_batch_fires_while_it_hangs(watched: Watched) -> None:
    target, name = watched.scene.plain["python"], "SeqserveBatchesHang"

    async def firing() -> bool:
        return name in [alert["alertname"] for alert in await watched.prometheus.alerts()]

    async def silent() -> bool:
        return not await firing()

    target.engine.hold()
    call = asyncio.create_task(target.ask(model="hangs"))
    await watched.prometheus.until(firing)
    target.engine.gate.set()
    assert await call == "DEADLINE_EXCEEDED"
    await watched.prometheus.until(silent)


async def test_a_gateway_that_goes_is_told_of_by_its_address(watched: Watched) -> None:
    target = watched.scene.plain[FRONTS[-1]]

    async def firing() -> bool:
        alerts = await watched.prometheus.alerts()
        down = [alert["instance"] for alert in alerts if alert["alertname"] == "SeqserveGatewayDown"]
        return down == [target.instance]

    await target.gateway.drain()
    await watched.prometheus.until(firing)
