"""The GPU's memory and use, asked for at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from seqserve.engines.base import DeviceUse
from seqserve.metrics.table import GPU_MEMORY_TOTAL_BYTES, GPU_MEMORY_USED_BYTES, GPU_UTILIZATION_RATIO


class GpuMetrics(Collector):
    """Register it only where there is a GPU; what the GPU does not tell has no sample."""

    def __init__(self, gpu: DeviceUse) -> None:
        self._gpu = gpu

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See Collector."""
        used, total = GPU_MEMORY_USED_BYTES.family(), GPU_MEMORY_TOTAL_BYTES.family()
        utilisation = GPU_UTILIZATION_RATIO.family()
        memory, share = self._gpu.memory(), self._gpu.utilisation()
        if memory is not None:
            used.add_metric([self._gpu.device], memory.used_bytes)
            total.add_metric([self._gpu.device], memory.total_bytes)
        if share is not None:
            utilisation.add_metric([self._gpu.device], share)
        yield from (used, total, utilisation)
