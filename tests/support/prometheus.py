"""A real Prometheus on a free port, that scrapes every second and evaluates our rules as often."""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.running import is_running, until

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
WAIT = re.compile(r"^( +(?:for|interval):) .*$", re.MULTILINE)
LISTENS = re.compile(r'msg="TLS is disabled\.".* address=127\.0\.0\.1:(\d+)')
READY = "Server is ready to receive web requests"
LIMIT_SECONDS = 300.0
POLL_SECONDS = 0.1

needs_prometheus = pytest.mark.usefixtures("prometheus_programs")  # of tests/monitoring/conftest.py

Json = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One series of an answer, as it is at one moment."""

    labels: dict[str, str]
    value: float


@dataclass
class Prometheus:
    """A running one. url: of its HTTP API. targets: how many it scrapes."""

    url: str
    targets: int
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=LIMIT_SECONDS))

    async def ask(self, path: str, **parameters: str | float) -> Any:
        """What `data` of an answer is. Fails where the answer is an error."""
        reply = (await self.http.get(f"{self.url}/api/v1/{path}", params=parameters)).json()
        assert reply["status"] == "success", (parameters, reply)
        return reply["data"]

    async def query(self, expr: str, **parameters: float) -> list[Sample]:
        """An instant query; a scalar has no labels."""
        data = await self.ask("query", query=expr, **parameters)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    async def numbers(self, expr: str) -> list[float]:
        """The values of an instant query that are numbers."""
        return [sample.value for sample in await self.query(expr) if not math.isnan(sample.value)]

    async def value(self, expr: str) -> float:
        """Of the one series that there is."""
        [sample] = await self.query(expr)
        return sample.value

    async def alerts(self, state: str = "firing") -> list[Json]:
        """The labels of the alerts in a state."""
        found = (await self.ask("alerts"))["alerts"]
        return [alert["labels"] for alert in found if alert["state"] == state]

    async def rules(self) -> list[Json]:
        """All of them, as Prometheus has loaded them, with what came of their last evaluation."""
        groups = (await self.ask("rules"))["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Return when it holds. Raises TimeoutError where it does not come to hold."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while not await condition():  # noqa: ASYNC110 - what happens elsewhere sets no asyncio.Event
                await asyncio.sleep(POLL_SECONDS)

    async def until_scraped(self, count: int = 2) -> None:
        """Return when each target has been scraped so often from now on."""
        began = time.time()

        async def is_scraped() -> bool:
            window_seconds = math.floor(time.time() - began)
            scraped = await self.query(f"count_over_time(up[{max(1, window_seconds)}s])")
            is_often = [sample.value >= count for sample in scraped]
            return window_seconds > 0 and len(is_often) == self.targets and all(is_often)

        await self.until(is_scraped)


@asynccontextmanager
async def running_prometheus(folder: Path, jobs: Sequence[Json]) -> AsyncIterator[Prometheus]:
    """Over jobs as in `scrape_configs`, with our rules; what waits for minutes waits a second."""
    process = _start(folder, jobs)
    try:
        port = await _port(process.pid, folder / "prometheus.log")
        targets = sum(len(each["targets"]) for job in jobs for each in job["static_configs"])
        prometheus = Prometheus(f"http://127.0.0.1:{port}", targets)
        async with prometheus.http:
            yield prometheus
    finally:
        process.terminate()
        process.wait(LIMIT_SECONDS)


def _start(folder: Path, jobs: Sequence[Json]) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    for file in RULES.glob("*.yml"):
        (folder / file.name).write_text(WAIT.sub(r"\1 1s", file.read_text()))
    often = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": often, "rule_files": [f"{folder}/*.yml"], "scrape_configs": list(jobs)}
    (folder / "prometheus.json").write_text(json.dumps(config))  # JSON is YAML
    with (folder / "prometheus.log").open("wb") as log:
        return subprocess.Popen(_command(folder), stdout=log, stderr=log)


def _command(folder: Path) -> list[str]:
    return [
        "prometheus",
        f"--config.file={folder / 'prometheus.json'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]


async def _port(process: int, log: Path) -> int:
    """What it listens on, once it is ready."""

    def is_told() -> bool:
        text = log.read_text()  # the two lines come in either order
        return (READY in text and LISTENS.search(text) is not None) or not is_running(process)

    await until(is_told)
    text = log.read_text()  # noqa: ASYNC240 - a few lines
    found = LISTENS.search(text)
    assert found, text
    return int(found[1])
