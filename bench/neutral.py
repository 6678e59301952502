"""Triton's perf_analyzer on the gateway that our generator has loaded: a generator that others wrote."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.generator import Work
from bench.labels import SIXTEEN
from bench.messages import Rows
from bench.serving import Server
from bench.setting import Setting

CLIENTS = Path(__file__).parents[1] / ".venv-clients"
PROGRAM = CLIENTS / "bin" / "perf_analyzer"
MOST_SECONDS = 120
ANY_STABILITY = 10_000
"""Per cent between its windows; it gives up on noisy machines otherwise."""


@dataclass(frozen=True, slots=True)
class Neutral:
    """What perf_analyzer measured of a front with 16 callers."""

    front: str
    examples_per_second: float
    p50_us: float
    p99_us: float

    def __str__(self) -> str:
        return (
            f"{self.front}, 16 callers: {self.examples_per_second:,.0f} examples/s, "
            f"p50 {self.p50_us / 1e3:.2f} ms, p99 {self.p99_us / 1e3:.2f} ms"
        )


class CannotRun(Exception):
    """It is not there, or does not start; the text says in one line why."""


def neutral_check(setting: Setting, servers: Mapping[tuple[str, Work], Server]) -> Iterator[Neutral]:
    """One run for each front. Raises CannotRun."""
    if not os.access(PROGRAM, os.X_OK):
        raise CannotRun(f"no {PROGRAM.relative_to(CLIENTS.parent)}: `make clients` installs it")
    written = setting.folder / "perf-analyzer.json"
    written.write_text(_input(setting.generator.rows[SIXTEEN.work]))
    for front in setting.fronts:
        report = setting.folder / "perf-analyzer.csv"
        command = _command(servers[front, SIXTEEN.work].doors["raw"].address, written, report, setting)
        done = subprocess.run(  # noqa: S603 - of our own list of clients
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            env=os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(_libraries())},
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["nothing said"]
            raise CannotRun(f"perf_analyzer ended with {done.returncode}: {said[-1]}")
        yield _read(front, report.read_text())


def _input(rows: Rows) -> str:
    """The rows as its input file: its own random bytes would hold NaN, which is refused."""
    examples = [
        {rows.input_name: {"content": row.ravel().tolist(), "shape": list(row.shape)}} for row in rows.inputs
    ]
    return json.dumps({"data": examples})


def _command(address: str, written: Path, report: Path, setting: Setting) -> list[str]:
    return [
        *(str(PROGRAM), "-m", SIXTEEN.model, "-u", address, "-i", "grpc", "--async", "--max-threads", "1"),
        *("--input-data", str(written), "--concurrency-range", str(SIXTEEN.callers)),
        *("--measurement-interval", str(round(1000 * setting.seconds))),
        *("--stability-percentage", str(ANY_STABILITY), "-f", str(report)),
    ]


def _libraries() -> list[str]:
    """What it is linked against, where `make clients` puts it."""
    places = ("lib/python3*/site-packages/nvidia/cuda_runtime/lib", "libb64/usr/lib/*-linux-gnu")
    return [str(folder) for place in places for folder in CLIENTS.glob(place)]


def _read(front: str, report: str) -> Neutral:
    [row] = csv.DictReader(report.splitlines())
    return Neutral(
        front, float(row["Inferences/Second"]), float(row["p50 latency"]), float(row["p99 latency"])
    )
