"""Targets under atheris, one after the other, each in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.keeping import keep_what_adds, write_inputs
from fuzz.target import CRASHES, Target
from fuzz.targets import TARGETS

HANG_SECONDS = 60
MOST_MEGABYTES = 2048
PROGRESS_SECONDS = 10.0
TOLD_LINES = 40
LONGEST_WORD = 64
"""Of libFuzzer's dictionaries."""
_PROGRESS = re.compile(r"#(?P<executions>\d+)\s.*?cov: (?P<coverage>\d+)")

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What became of one target. coverage: edges of the product's Python that were reached; crash: its input.

    kept: how many inputs were put into the corpus.
    """

    name: str
    executions: int = 0
    seconds: float = 0.0
    coverage: int = 0
    crash: Path | None = None
    kept: int = 0
    has_failed: bool = False

    def line(self) -> str:
        """For the table at the end."""
        rate = self.executions / self.seconds if self.seconds else 0.0
        end = f"CRASH {self.crash}" if self.crash else "FAILED" if self.has_failed else "ok"
        end += f", {self.kept} kept" if self.kept else ""
        return (
            f"{self.name:<14}{self.executions:>10} executions {rate:>8.0f}/s {self.coverage:>6} edges  {end}"
        )


@dataclass(frozen=True)
class Plan:
    """How long each target is run. seconds: at most, 0 for no end. tools: the environment with atheris.

    is_kept: whether what a run finds, which reaches more than is in the corpus, is put there.
    """

    executions: int
    seconds: int
    tools: Path
    is_kept: bool = False

    @property
    def packages(self) -> Path:
        """Where atheris can be imported from."""
        return next(self.tools.glob("lib/python3*/site-packages"))

    def worker(self, name: str) -> list[str]:
        """The command for a target, without options of libFuzzer."""
        return [sys.executable, "-m", "fuzz.worker", name, str(self.packages)]


def fuzz(name: str, plan: Plan, say: Say) -> Outcome:
    """Run a target as planned, or until it crashes."""
    target = TARGETS[name]
    CRASHES.mkdir(exist_ok=True)
    known = {*CRASHES.iterdir()}
    with TemporaryDirectory(prefix="seqserve-fuzz-") as folder:
        grown = Path(folder) / "grown"
        command = [*plan.worker(name), *_options(target, plan, Path(folder), grown)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")
        outcome, last = _followed(name, process, say)
        if plan.is_kept and process.wait() == 0:
            outcome.kept = keep_what_adds(target, grown, plan.worker(name))
    if process.wait():
        outcome.has_failed = True
        outcome.crash = next(iter({*CRASHES.iterdir()} - known), None)
        say("\n".join(last))
    return outcome


def _followed(name: str, process: subprocess.Popen[str], say: Say) -> tuple[Outcome, deque[str]]:
    """Reads what libFuzzer says until it ends, and tells how far it is."""
    outcome, last = Outcome(name), deque[str](maxlen=TOLD_LINES)
    started = told = time.monotonic()
    for line in process.stderr or ():
        last.append(line.rstrip())
        if found := _PROGRESS.match(line):
            outcome.executions, outcome.coverage = int(found["executions"]), int(found["coverage"])
            outcome.seconds = time.monotonic() - started
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                say(outcome.line().removesuffix("  ok"))
    return outcome, last


def _options(target: Target, plan: Plan, folder: Path, grown: Path) -> Iterator[str]:
    """Those of libFuzzer. folder: for seeds and the dictionary; grown: where new inputs go."""
    seeds, words = folder / "seeds", folder / "words"
    write_inputs(target.inputs(), seeds)
    grown.mkdir()
    words.write_text("".join(f'"{_quoted(word)}"\n' for word in target.words if len(word) <= LONGEST_WORD))
    yield f"-runs={plan.executions}"
    yield f"-max_total_time={plan.seconds}"
    yield f"-max_len={target.max_bytes}"
    yield f"-dict={words}"
    yield f"-timeout={HANG_SECONDS}"
    yield f"-rss_limit_mb={MOST_MEGABYTES}"
    yield f"-artifact_prefix={CRASHES / target.name}-"
    yield str(grown)
    yield str(seeds)


def _quoted(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)
