"""The `seqserve` command as a user runs it: builds in the foreground, gateways for the length of a block."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SEQSERVE = str(Path(sys.executable).with_name("seqserve"))
FREE_PORTS = [
    f"--{name}-port=0"
    for name in (
        "grpc", "http", "torchserve-http", "torchserve-management", "torchserve-metrics",
        "torchserve-grpc", "torchserve-grpc-management",
    )
]  # fmt: skip
START_SECONDS = 90
STOP_SECONDS = 60


class CommandFailed(Exception):
    """A command ended as it should not; the text says what it said."""


@dataclass(frozen=True)
class RunningGateway:
    """Where a gateway and its TorchServe answer.

    torchserve, torchserve_grpc: TorchServe's own HTTP and gRPC. tokens: the file with its keys.
    logs: the folder with what it says.
    """

    grpc: str
    http: str
    torchserve: str
    torchserve_grpc: str
    tokens: Path
    logs: Path


def run(*arguments: str) -> None:
    """Run seqserve with its output on the screen. Raises CommandFailed."""
    done = subprocess.run([SEQSERVE, *arguments], check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise CommandFailed(f"seqserve {' '.join(arguments)} ended with exit status {done.returncode}")


@contextmanager
def start_gateway(store: Path, *options: str) -> Iterator[RunningGateway]:
    """A gateway on free ports; at the end it has stopped by itself, and all that it started."""
    with tempfile.NamedTemporaryFile("w+", prefix="seqserve-demo-", suffix=".log") as log:
        command = [
            SEQSERVE,
            "serve",
            "--model-store",
            str(store),
            "--log-format",
            "json",
            *FREE_PORTS,
            *options,
        ]
        process = subprocess.Popen(command, stderr=log)  # noqa: S603 - our own command
        try:
            yield _running(_wait_until_serving(process, Path(log.name)))
        finally:
            _stop(process)


def _wait_until_serving(process: subprocess.Popen[bytes], log: Path) -> dict[str, dict[str, Any]]:
    """The log's events by name, once `serving` is among them."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        lines = log.read_text().splitlines()
        events = {event["event"]: event for event in map(_event, lines) if event}
        if "serving" in events:
            return events
        if process.poll() is not None:
            raise CommandFailed("the gateway did not start:\n" + "\n".join(lines))
        time.sleep(0.05)
    raise CommandFailed(f"the gateway was not ready within {START_SECONDS} s:\n{log.read_text()}")


def _event(line: str) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:  # a line that is still being written
        return None
    return event


def _running(events: dict[str, dict[str, Any]]) -> RunningGateway:
    listening, torchserve = events["listening"], events["torchserve started"]
    return RunningGateway(
        grpc=f"{listening['host']}:{listening['grpc_port']}",
        http=f"http://{listening['host']}:{listening['http_port']}",
        torchserve=torchserve["http"],
        torchserve_grpc=torchserve["grpc"],
        tokens=Path(torchserve["tokens"]),
        logs=Path(torchserve["logs"]),
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, and see that nothing of it stays."""
    started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    status = process.wait(STOP_SECONDS)
    _, alive = psutil.wait_procs(started, timeout=STOP_SECONDS)
    if alive:
        raise CommandFailed(f"left running: {alive}")
    if status != 0:
        raise CommandFailed(f"the gateway stopped with exit status {status}")
