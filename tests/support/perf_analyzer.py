"""Triton's perf_analyzer, unmodified: one run at one concurrency, and what it measured."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.archives import FloatArray
from support.clients import APART, program_apart

INTERVAL_MS = 1000
RUN_SECONDS = 120
ANY_STABILITY = 10_000
"""Per cent between windows. It gives up on noisy machines otherwise; noise is no fault of a server."""

ANSWERED = re.compile(r"Client: \s+Request count: (\d+)")


@dataclass(frozen=True)
class Measured:
    """What a run told. answered: requests in the intervals that it reports."""

    inferences_per_second: float
    p50_us: int
    p99_us: int
    answered: int

    def __str__(self) -> str:
        """For a table."""
        return (
            f"{self.inferences_per_second:,.0f} examples/s, p50 {self.p50_us / 1000:.1f} ms, p99 {self.p99_us / 1000:.1f} ms, "
            f"{self.answered:,} requests, none failed"
        )


def write_input(path: Path, rows: FloatArray) -> None:
    """The digits as its input file: its own random bytes would hold NaN, which is refused."""
    examples = [{"image": {"content": row.tolist(), "shape": [len(row)]}} for row in rows]
    path.write_text(json.dumps({"data": examples}))


def version() -> str:
    """Of the wheel that it came in: it knows none itself. Skips the test where it is missing or does not start."""
    told = _run("--version")
    if told.returncode:
        pytest.skip(f"perf_analyzer does not start: {told.stderr.strip()}")
    [wheel] = APART.glob("lib/python3*/site-packages/tritonclient-*.dist-info")
    return f"perf_analyzer of {wheel.stem.replace('-', ' ')}"


def measure(folder: Path, concurrency: int, *options: str, source: str = "input.json") -> Measured:
    """One run against digit_mlp. Fails where perf_analyzer does, which it does at the first failed request.

    source: what to send: a file of the folder, see `write_input`, or "random".
    """
    report = folder / "report.csv"
    ended = _run(
        "-m", "digit_mlp", "--input-data", source if source == "random" else str(folder / source),
        "--concurrency-range", str(concurrency), "--measurement-interval", str(INTERVAL_MS),
        "--stability-percentage", str(ANY_STABILITY),
        "-f", str(report), *options,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    [row] = csv.DictReader(report.read_text().splitlines())
    answered = ANSWERED.search(ended.stdout)
    assert answered is not None, ended.stdout
    return Measured(
        inferences_per_second=float(row["Inferences/Second"]),
        p50_us=int(row["p50 latency"]),
        p99_us=int(row["p99 latency"]),
        answered=int(answered[1]),
    )


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = program_apart("perf_analyzer")
    libraries = [
        *APART.glob("lib/python3*/site-packages/nvidia/cuda_runtime/lib"),
        *APART.glob("libb64/usr/lib/*-linux-gnu"),
    ]
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        env=os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))},
    )
