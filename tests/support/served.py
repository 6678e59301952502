"""The real command in processes of its own: `seqserve` as a user runs it, and gateways that serve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.running import children_of, is_running

SEQSERVE = Path(sys.executable).with_name("seqserve")
TORCHSERVE_PORTS = ("http", "management", "metrics", "grpc", "grpc-management")
TORCHSERVE_ON_FREE_PORTS = tuple(f"--torchserve-{name}-port=0" for name in TORCHSERVE_PORTS)
TESTS = Path(__file__).parents[1]
"""What a program of the tests' own needs on its PYTHONPATH."""
START_SECONDS = 90
STOP_SECONDS = 60
POLL_SECONDS = 0.02


def environment(**settings: str) -> dict[str, str]:
    """The one of these tests without settings of whoever runs the tests, and with these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SEQSERVE_")} | settings


def run(*arguments: str | Path, program: Path = SEQSERVE) -> subprocess.CompletedProcess[str]:
    """A command to its end, with what it said."""
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, env=environment()
    )


def plain_lines(errors: str) -> list[str]:
    """What standard error says beside the JSON log."""
    return [line for line in errors.splitlines() if not line.startswith("{")]


@dataclass(frozen=True)
class Served:
    """A running gateway. log: the file with its standard error."""

    process: subprocess.Popen[bytes]
    log: Path

    def events(self) -> dict[str, dict[str, Any]]:
        """The log's latest events by name. A line that is still being written is left out."""
        complete = self.log.read_text().rpartition("\n")[0]
        logged = (json.loads(line) for line in complete.splitlines() if line.startswith("{"))
        return {event["event"]: event for event in logged}

    @property
    def grpc(self) -> str:
        """HOST:PORT of gRPC."""
        listening = self.events()["listening"]
        return f"{listening['host']}:{listening['grpc_port']}"

    @property
    def http(self) -> str:
        """URL of metrics and probes."""
        listening = self.events()["listening"]
        return f"http://{listening['host']}:{listening['http_port']}"

    @property
    def health(self) -> str:
        """HOST:PORT of the port for health probes; it must have one."""
        listening = self.events()["listening"]
        return f"{listening['host']}:{listening['health_port']}"

    @property
    def torchserve(self) -> str:
        """URL of its TorchServe's inference."""
        return str(self.events()["torchserve started"]["http"])

    @property
    def torchserve_management(self) -> str:
        """URL of its TorchServe's management."""
        return str(self.events()["torchserve started"]["management"])

    @property
    def torchserve_token(self) -> str:
        """The key for its TorchServe's inference."""
        keys = json.loads(Path(self.events()["torchserve started"]["tokens"]).read_text())
        return str(keys["inference"]["key"])

    def family(self) -> set[int]:
        """The process and all that it started."""
        return {self.process.pid} | children_of(self.process.pid)

    def wait_for(self, event: str) -> None:
        """Return when the log holds an event of that name."""
        deadline = time.monotonic() + START_SECONDS
        while event not in self.events():
            assert self.process.poll() is None, f"ended without {event!r}:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"no {event!r}:\n{self.log.read_text()}"
            time.sleep(POLL_SECONDS)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, return the exit status once the process and all that it started are gone."""
        family = self.family()
        self.process.send_signal(number)
        status = self.process.wait(STOP_SECONDS)
        deadline = time.monotonic() + STOP_SECONDS
        while left := {member for member in family if is_running(member)}:
            assert time.monotonic() < deadline, f"left running: {left}"
            time.sleep(POLL_SECONDS)
        return status


@contextmanager
def started(
    folder: Path,
    store: Path,
    *options: str,
    cwd: Path | None = None,
    program: Sequence[str] = (str(SEQSERVE),),
    **settings: str,
) -> Iterator[Served]:
    """`seqserve serve` on free ports, from the moment it exists; killed at the end if it still runs.

    folder: where its log goes. program: what takes the place of `seqserve`. settings: environment variables.
    """
    log = folder / "gateway.log"
    command = [*program, "serve", "--model-store", str(store), "--log-format", "json"]
    command += [
        "--grpc-port=0",
        "--http-port=0",
        "--drain-pause-seconds=0",
        *TORCHSERVE_ON_FREE_PORTS,
        *options,
    ]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors, cwd=cwd, env=environment(**settings))
    try:
        yield Served(process, log)
    finally:
        process.kill()
        process.wait()


@contextmanager
def serving(
    folder: Path, store: Path, *options: str, program: Sequence[str] = (str(SEQSERVE),), **settings: str
) -> Iterator[Served]:
    """The same once it serves; at the end it must stop by itself, and all that it started."""
    with started(folder, store, *options, cwd=None, program=program, **settings) as gateway:
        gateway.wait_for("serving")
        yield gateway
        if gateway.process.poll() is None:
            assert gateway.end() == 0, gateway.log.read_text()
