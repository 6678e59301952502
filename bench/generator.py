"""Runs the C++ load generator and reads what it says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.load import WrongAnswer
from bench.messages import Rows
from bench.store import MODEL
from bench.wires import Door, Form

WARM_UP_SECONDS = 0.3
MOST_CONNECTIONS = 4
OPEN_LOOP_CONNECTIONS = 16
"""More calls than a queue holds must fit into them, so that it is the server that refuses."""
PATIENCE_SECONDS = 60

Work = tuple[str, int]
"""A model, and the examples in one request."""


class GeneratorFailed(Exception):
    """It ended as it should not; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked. examples: in one request. in_flight: messages on a stream, 0: unary calls.

    rate: requests a second of an open loop, 0: a closed loop. written: how a request is written.
    """

    name: str
    callers: int = 1
    examples: int = 1
    in_flight: int = 0
    rate: float = 0.0
    deadline_seconds: float = 30.0
    model: str = MODEL
    written: Literal["raw", "json"] = "raw"

    @property
    def work(self) -> Work:
        """Which rows."""
        return self.model, self.examples

    @property
    def form(self) -> Form:
        """Through which of a server's doors."""
        return "stream" if self.in_flight else self.written

    @property
    def connections(self) -> int:
        """How many the callers share."""
        return OPEN_LOOP_CONNECTIONS if self.rate else min(self.callers, MOST_CONNECTIONS)


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the replies with one gRPC code, in microseconds."""

    count: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back. throughput: good replies a second. codes: by the gRPC code's name, always with OK.

    unanswered: requests of an open loop that had no reply at its end. late_p99_us: how late they were sent.
    cpu_share: of one core, that the generator took. grpc: its library's version.
    """

    requests: int
    seconds: float
    throughput: float
    codes: Mapping[str, Latency]
    unanswered: int
    late_p99_us: float
    cpu_share: float
    grpc: str

    @property
    def good(self) -> Latency:
        """Of the replies that were OK."""
        return self.codes["OK"]

    @property
    def errors(self) -> int:
        """Replies that were not OK."""
        return self.requests - self.good.count


def read_outcome(said: str) -> Outcome:
    """The generator's JSON. Raises GeneratorFailed for anything else."""
    try:
        fields: dict[str, Any] = json.loads(said)
        codes = {code: Latency(**latency) for code, latency in fields.pop("codes").items()}
        return Outcome(codes=codes, **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GeneratorFailed(f"not what the generator says: {said[:200]!r}") from error


@dataclass(frozen=True, slots=True)
class Generator:
    """The program; it runs where this one does. folder: for its files. rows: that are sent."""

    program: Path
    folder: Path
    rows: Mapping[Work, Rows]

    def run(self, door: Door, load: Load, seconds: float) -> Outcome:
        """Load a server; the first and the last reply are checked. Raises GeneratorFailed, WrongAnswer."""
        rows, body = self.rows[load.work], self.folder / "request"
        body.write_bytes(door.wire.body(rows))
        command = self._command(door, load, seconds, body)
        done = _finished(command, seconds + PATIENCE_SECONDS)
        if done.returncode:
            raise GeneratorFailed(f"{load.name}: {done.stderr.strip() or done.returncode}")
        for name in ("first", "last"):
            try:
                rows.check(door.wire.read((self.folder / name).read_bytes(), rows))
            except WrongAnswer as error:
                raise WrongAnswer(f"{load.name}, the {name} reply: {error}") from error
        return read_outcome(done.stdout)

    def _command(self, door: Door, load: Load, seconds: float, body: Path) -> list[str]:
        options = {
            "target": door.address,
            **door.wire.options(self.rows[load.work]),
            "body": body,
            "first-reply": self.folder / "first",
            "last-reply": self.folder / "last",
            "callers": load.callers,
            "connections": load.connections,
            "in-flight": load.in_flight,
            "rate": load.rate,
            "seconds": seconds,
            "warm-up-seconds": WARM_UP_SECONDS,
            "deadline-seconds": load.deadline_seconds,
        }
        return [
            str(self.program),
            *(word for name, value in options.items() for word in (f"--{name}", str(value))),
        ]


def _finished(command: list[str], limit_seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - our own program
            command, check=False, capture_output=True, text=True, timeout=limit_seconds
        )
    except subprocess.TimeoutExpired as error:
        raise GeneratorFailed(f"the generator did not end within {limit_seconds:.0f} s") from error
