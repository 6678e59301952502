"""The GPU's memory and use at a scrape, and what is not told."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest

from seqserve.engines.base import DeviceMemory
from seqserve.metrics.gpu import GpuMetrics


@dataclass
class Gpu:
    """Tells what the test has put in."""

    used: DeviceMemory | None
    share: float | None
    device: str = "cuda:1"

    def memory(self) -> DeviceMemory | None:
        return self.used

    def utilisation(self) -> float | None:
        return self.share


def scraped(gpu: Gpu) -> list[str]:
    registry = CollectorRegistry()
    registry.register(GpuMetrics(gpu))
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_memory_and_use_are_told_as_they_are_at_the_scrape() -> None:
    gpu = Gpu(DeviceMemory(2**30, 2**33), 0.25)
    registry = CollectorRegistry()
    registry.register(GpuMetrics(gpu))
    gpu.share = 0.5

    assert registry.get_sample_value("seqserve_gpu_utilization_ratio", {"device": "cuda:1"}) == 0.5
    assert registry.get_sample_value("seqserve_gpu_memory_used_bytes", {"device": "cuda:1"}) == 2**30
    assert registry.get_sample_value("seqserve_gpu_memory_total_bytes", {"device": "cuda:1"}) == 2**33


def test_without_nvml_memory_is_told_alone() -> None:
    lines = scraped(Gpu(DeviceMemory(1, 2), None))

    assert [line.partition("{")[0] for line in lines] == [
        "seqserve_gpu_memory_used_bytes",
        "seqserve_gpu_memory_total_bytes",
    ]


def test_a_gpu_that_answers_nothing_has_no_samples() -> None:
    assert scraped(Gpu(None, None)) == []
