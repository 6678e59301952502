"""What a running gateway says of itself on /metrics, as sums over what a test does not name."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

READ_SECONDS = 120.0


async def total(url: str, sample: str, **labels: str) -> float:
    """The sum of all samples of that name with these labels. url: of the gateway's HTTP."""
    async with httpx.AsyncClient(base_url=url, timeout=READ_SECONDS) as web:
        text = (await web.get("/metrics")).text
    return sum(
        found.value
        for family in text_string_to_metric_families(text)
        for found in family.samples
        if found.name == sample and labels.items() <= found.labels.items()
    )
