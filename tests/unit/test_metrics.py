"""What is counted and measured, and which series come and go."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from prometheus_client import CollectorRegistry

from seqserve import __version__
from seqserve.batching.observers import Phases
from seqserve.errors import EngineUnavailable
from seqserve.metrics.counts import Metrics
from seqserve.metrics.table import KEPT_VERSIONS
from seqserve.repository.versions import ModelState, ModelVersion

TINY = {"model": "tiny", "version": "1"}


class Page:
    """What a registry would serve."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def series_of(self, **labels: str) -> set[str]:
        """Names of the samples that carry these labels."""
        return {
            sample.name
            for family in self.registry.collect()
            for sample in family.samples
            if labels.items() <= sample.labels.items()
        }


@pytest.fixture
def page() -> Page:
    return Page()


def test_each_phase_of_a_request_has_its_histogram(page: Page) -> None:
    observer = page.metrics.of_version("tiny", "1")

    observer.request_answered(3, Phases(0.5, decode_seconds=0.01, queue_seconds=0.2, compute_seconds=0.3))
    observer.request_encoded(0.02)
    observer.batch_computed(3, assembly_seconds=0.03, compute_seconds=0.25, split_seconds=0.04)

    sums = {
        phase: page.value(f"seqserve_{phase}_seconds_sum", **TINY)
        for phase in ("request", "decode", "queue", "assembly", "compute", "encode")
    }
    assert sums == {
        "request": 0.5, "decode": 0.01, "queue": 0.2, "assembly": 0.03, "compute": 0.25, "encode": 0.02,
    }  # fmt: skip


def test_batches_are_counted_by_reason_and_size(page: Page) -> None:
    observer = page.metrics.of_version("tiny", "1")

    observer.batch_started(4, "full", queued_examples=2)
    observer.batch_started(1, "idle", queued_examples=0)

    assert page.value("seqserve_batches_total", reason="full", **TINY) == 1
    assert page.value("seqserve_batches_total", reason="idle", **TINY) == 1
    assert page.value("seqserve_batches_total", reason="drain", **TINY) == 0, "rates need the zero"
    assert page.value("seqserve_batch_examples_sum", **TINY) == 5
    assert page.value("seqserve_batch_examples_bucket", le="2.0", **TINY) == 1


def test_what_went_wrong_with_batches_is_counted(page: Page) -> None:
    observer = page.metrics.of_version("tiny", "1")

    observer.batch_failed(2, EngineUnavailable("away"))
    observer.batch_overdue(2)
    observer.batch_overdue(2)
    observer.batch_recovered(9.0, None)

    assert page.value("seqserve_failed_batches_total", **TINY) == 1
    assert page.value("seqserve_overdue_batches_total", **TINY) == 2
    assert page.value("seqserve_recovered_batches_total", **TINY) == 1


def test_dropped_and_refused_examples_are_counted_by_cause(page: Page) -> None:
    observer = page.metrics.of_version("tiny", "1")

    observer.dropped("departed", 3)
    observer.refused("deadline", 5)

    assert page.value("seqserve_dropped_examples_total", cause="departed", **TINY) == 3
    assert page.value("seqserve_refused_examples_total", cause="deadline", **TINY) == 5
    assert page.value("seqserve_refused_examples_total", cause="full", **TINY) == 0


def test_requests_are_counted_by_model_version_and_code(page: Page) -> None:
    for code in ("OK", "OK", "INTERNAL"):
        page.metrics.count_request("tiny", "1", code)
    page.metrics.count_request("tiny", "2", "OK")
    page.metrics.count_malformed()

    assert page.value("seqserve_requests_total", code="OK", **TINY) == 2
    assert page.value("seqserve_requests_total", code="INTERNAL", **TINY) == 1
    assert page.value("seqserve_requests_total", code="OK", model="tiny", version="2") == 1
    nobody = {"model": "unknown", "version": "unknown", "code": "INVALID_ARGUMENT"}
    assert page.value("seqserve_requests_total", **nobody) == 1


def test_codes_that_promises_are_about_begin_at_zero_and_are_counted_on(page: Page) -> None:
    page.metrics.count_request("tiny", "1", "UNAVAILABLE")
    page.metrics.of_version("tiny", "1")
    for code in ("OK", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"):
        assert page.value("seqserve_requests_total", code=code, **TINY) == 0, code
    assert page.value("seqserve_requests_total", code="UNAVAILABLE", **TINY) == 1
    assert page.value("seqserve_requests_total", code="INVALID_ARGUMENT", **TINY) is None
    page.metrics.count_request("tiny", "1", "INTERNAL")
    assert page.value("seqserve_requests_total", code="INTERNAL", **TINY) == 1


def test_reloads_and_golden_checks_are_counted_by_result(page: Page) -> None:
    page.metrics.note_reload("tiny", "loaded")
    page.metrics.note_reload("tiny", "refused")
    page.metrics.count_config_reload("refused")
    page.metrics.note_golden_check("tiny", "1", delta=2e-7)
    page.metrics.note_golden_check("tiny", "2", delta=None)

    assert page.value("seqserve_reloads_total", model="tiny", result="loaded") == 1
    assert page.value("seqserve_reloads_total", model="tiny", result="refused") == 1
    assert page.value("seqserve_config_reloads_total", result="refused") == 1
    assert page.value("seqserve_golden_checks_total", result="passed", **TINY) == 1
    assert page.value("seqserve_golden_checks_total", result="failed", model="tiny", version="2") == 1
    assert page.value("seqserve_golden_delta", **TINY) == 2e-7
    assert page.value("seqserve_golden_delta", model="tiny", version="2") is None


def test_the_build_names_torch_only_once_it_is_loaded(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    python = ".".join(map(str, sys.version_info[:3]))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    page.metrics.describe_engine("torchserve", "cpu")
    build = {
        "version": __version__,
        "python": python,
        "engine": "torchserve",
        "device": "cpu",
        "front": "python",
    }
    assert page.value("seqserve_build_info", torch="", **build) == 1

    torch = ModuleType("torch")
    torch.__version__ = "9.9"  # type: ignore[attr-defined]  # as torch has it
    monkeypatch.setitem(sys.modules, "torch", torch)
    page.metrics.describe_engine("embedded", "cuda:0")
    build |= {"engine": "embedded", "device": "cuda:0"}
    assert page.value("seqserve_build_info", torch="9.9", **build) == 1


async def test_a_version_that_is_unloaded_keeps_its_counters_and_loses_its_gauge(page: Page) -> None:
    page.metrics.of_version("tiny", "1").batch_failed(1, EngineUnavailable("away"))
    page.metrics.note_golden_check("tiny", "1", delta=0.0)

    await page.metrics.follow(ModelVersion("tiny", "1", state=ModelState.UNLOADED))

    assert page.value("seqserve_failed_batches_total", **TINY) == 1
    assert page.value("seqserve_golden_delta", **TINY) is None


async def test_series_of_versions_that_are_gone_do_not_pile_up(page: Page) -> None:
    last = KEPT_VERSIONS + 1
    for number in map(str, range(1, last + 1)):
        page.metrics.of_version("tiny", number)
        page.metrics.count_request("tiny", number, "OK")
        page.metrics.note_golden_check("tiny", number, delta=0.0)
        await page.metrics.follow(ModelVersion("tiny", number, state=ModelState.READY))
        await page.metrics.follow(ModelVersion("tiny", number, state=ModelState.UNLOADED))

    assert page.series_of(model="tiny", version="1") == set()
    kept = page.series_of(model="tiny", version="2")
    assert {"seqserve_requests_total", "seqserve_golden_checks_total", "seqserve_batches_total"} < kept
    page.metrics.count_request("tiny", "1", "UNAVAILABLE")
    page.metrics.count_request("tiny", "1", "OK")
    assert page.value("seqserve_requests_total", code="OK", **TINY) == 1, "it starts again at zero"


async def test_a_version_that_came_back_keeps_its_series_however_many_go(page: Page) -> None:
    page.metrics.count_request("tiny", "1", "OK")
    await page.metrics.follow(ModelVersion("tiny", "1", state=ModelState.UNLOADED))
    await page.metrics.follow(ModelVersion("tiny", "1", state=ModelState.READY))
    for number in range(2, KEPT_VERSIONS + 10):
        await page.metrics.follow(ModelVersion("tiny", str(number), state=ModelState.FAILED))

    assert page.value("seqserve_requests_total", code="OK", **TINY) == 1
