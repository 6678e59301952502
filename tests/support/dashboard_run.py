"""The picture of the dashboard: `PYTHONPATH=tests python -m support.dashboard_run FILE`, or `make dashboard-picture`.

A gateway with a small and a slow model has four minutes of load that rises, is too much, and makes mistakes, while
versions come and one is refused. A Prometheus watches it, and its answers are drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np

from bench.slow_model import VALUES, package
from deploy.grafana.plot import answers, plot
from support.oip import infer_request, inference_stub
from support.prometheus import running_prometheus
from support.served import Served, run, serving

STAGE_SECONDS = 40.0
PAUSE_SECONDS = 0.02
WINDOW = "10s"
DEADLINE_SECONDS = 2.0
REFUSED_PAUSE_SECONDS = 0.2
ARCHIVE = (".mar", ".mar.sha256")


@dataclass
class Run:
    """The gateway under load, and what was done when."""

    served: Served
    store: Path
    built: Path
    channel: grpc.aio.Channel
    began: float = field(default_factory=time.time)
    marks: list[tuple[float, str]] = field(default_factory=list)

    def note(self, what: str) -> None:
        """It begins now."""
        self.marks.append((time.time() - self.began, what))
        print(f"{self.marks[-1][0]:5.0f} s  {what}", flush=True)  # noqa: T201 - minutes pass

    @asynccontextmanager
    async def callers(
        self, count: int, model: str, shape: tuple[int, ...], seconds: float = 30.0, name: str = "image"
    ) -> AsyncIterator[None]:
        """So many, each with one call at a time, for the length of the block."""
        tasks = [
            asyncio.create_task(self._call(model, np.zeros(shape, np.float32), seconds, name))
            for _ in range(count)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, model: str, rows: object, seconds: float, name: str) -> None:
        request = infer_request(rows, model=model, name=name)  # type: ignore[arg-type]  # an array
        while True:
            try:
                await inference_stub(self.channel).ModelInfer(request, timeout=seconds)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)

    def put(self, version: str, *, as_version: str = "") -> None:
        """A version of the digits, by its own name or by another's."""
        for suffix in ARCHIVE:
            target = self.store / f"digit_mlp-{as_version or version}{suffix}"
            shutil.copy(self.built / f"digit_mlp-{version}{suffix}", target)


def build(folder: Path) -> Path:
    """digit_mlp 1 and 2."""
    for _ in range(2):
        done = run("build", "digit_mlp", "--epochs", "3", "--output", folder)
        assert done.returncode == 0, done.stderr
    return folder


async def load(run: Run) -> None:
    """All stages, one after the other."""
    digits, slow = ("digit_mlp", (1, 784)), ("slow", (1, VALUES))
    run.note("4 callers of digit_mlp")
    async with run.callers(4, *digits):
        await asyncio.sleep(STAGE_SECONDS)
        run.note("16 callers")
        async with run.callers(12, *digits):
            await asyncio.sleep(STAGE_SECONDS)
        run.note("4 callers, and 8 of a slow model")
        async with run.callers(8, *slow, name="values"):
            await asyncio.sleep(STAGE_SECONDS)
            run.note("96 more of it, more than its queue holds, a third with deadlines of 0.2 s")
            async with (
                run.callers(64, *slow, name="values"),
                run.callers(32, *slow, seconds=0.2, name="values"),
            ):
                await asyncio.sleep(STAGE_SECONDS)
        run.note("a new version, and one that is refused")
        run.put("2")
        run.put("1", as_version="3")
        await asyncio.sleep(STAGE_SECONDS / 2)
        run.note("callers with mistakes")
        async with run.callers(4, "digit_mlp", (1, 7)), run.callers(2, "nobody", (1, 784)):
            await asyncio.sleep(STAGE_SECONDS / 2)
        run.note("4 callers")
        await asyncio.sleep(STAGE_SECONDS / 2)


async def watch(served: Served, store: Path, built: Path, folder: Path) -> str:
    """The picture of the load, as SVG."""
    instance = served.http.removeprefix("http://")
    jobs = [{"job_name": "seqserve", "static_configs": [{"targets": [instance]}]}]
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with (
        running_prometheus(folder / "prometheus", jobs) as prometheus,
        grpc.aio.insecure_channel(served.grpc, options=options) as channel,
    ):
        await prometheus.until_scraped(3)
        run = Run(served, store, built, channel)
        await load(run)
        return plot(answers(prometheus.url, run.began, time.time(), WINDOW), run.marks)


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory(prefix="seqserve-dashboard-") as name:
        folder = Path(name)
        built, store = build(folder / "built"), folder / "model-store"
        store.mkdir()
        for suffix in ARCHIVE:
            shutil.copy(built / f"digit_mlp-1{suffix}", store)
        package(store, "slow")
        options = ("--max-queue-size=64", "--max-request-examples=64", "--watch-interval-seconds=1")
        with serving(folder, store, *options) as served:
            picture = asyncio.run(watch(served, store, built, folder))
    Path(sys.argv[1]).write_text(picture)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
