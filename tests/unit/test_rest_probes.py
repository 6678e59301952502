"""What a scrape costs everybody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from support.rest import Port

LIMIT_SECONDS = 10.0


class Slow(Collector):
    """Comes to an end once the event loop has had its turn."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.was_released = False

    def collect(self) -> Iterator[GaugeMetricFamily]:
        self.entered.set()
        self.was_released = self.gate.wait(LIMIT_SECONDS)
        yield from ()


async def test_the_event_loop_goes_on_while_metrics_are_written(tmp_path: Path) -> None:
    port, slow = Port(), Slow()
    async with await port.client(tmp_path) as http:
        port.registry.register(slow)
        scraping = asyncio.create_task(http.get("/metrics"))
        await asyncio.to_thread(slow.entered.wait, LIMIT_SECONDS)
        slow.gate.set()
        text = (await scraping).text

    assert slow.was_released
    assert 'seqserve_model_state{model="tiny",state="ready",version="1"} 1.0' in text
