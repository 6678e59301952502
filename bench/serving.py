"""Starts servers on one core, and ends them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from bench.asking import NoReply, ask
from bench.load import on_core
from bench.messages import Rows
from bench.wires import Door, Form, oip_doors
from examples.demo.command import SEQSERVE

START_SECONDS = 90
STOP_SECONDS = 30
LOOK_SECONDS = 0.02
HOST = "127.0.0.1"

Front = Literal["python", "native"]


class ServerFailed(Exception):
    """A server did not start, or ended; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs. doors: by the form of a request. health: HOST:PORT of its probes, empty: none."""

    doors: Mapping[Form, Door]
    process: psutil.Popen
    log: Path
    health: str = ""

    def cpu_seconds(self) -> float:
        """That it and what it started have used until now."""
        return float(sum(used.user + used.system for used in self._of_each("cpu_times")))

    def memory_bytes(self) -> int:
        """Resident, of it and of what it started."""
        return sum(int(memory.rss) for memory in self._of_each("memory_info"))

    def failed(self, why: str) -> ServerFailed:
        """With the end of its log."""
        return ServerFailed(f"{why}:\n{self.log.read_text(errors='replace')[-2000:]}")

    def _of_each(self, asked: str) -> Iterator[Any]:
        """Of its processes, some of which may end meanwhile. Raises ServerFailed where the server has."""
        try:
            family = [self.process, *self.process.children(recursive=True)]
        except psutil.NoSuchProcess:
            raise self.failed(f"the server ended with exit status {self.process.poll()}") from None
        for member in family:
            with suppress(psutil.NoSuchProcess):
                yield getattr(member, asked)()


def free_address() -> str:
    """A port of the loopback that nobody has now."""
    with closing(socket.socket()) as listener:
        listener.bind((HOST, 0))
        return f"{HOST}:{listener.getsockname()[1]}"


def port_of(address: str) -> str:
    """Of HOST:PORT."""
    return address.rpartition(":")[2]


@contextmanager
def gateway(store: Path, core: int, folder: Path, front: Front, *options: str) -> Iterator[Server]:
    """`seqserve serve` as it is by default, with the front that is asked for; it may not be ready yet.

    Raises ServerFailed at the end of the block where it does not stop as it should.
    """
    grpc, http, health = free_address(), free_address(), free_address()
    command = [
        *(SEQSERVE, "serve", "--model-store", str(store), "--log-format", "json"),
        *("--grpc-port", port_of(grpc), "--http-port", port_of(http), "--health-port", port_of(health)),
        *("--drain-pause-seconds", "0", *options),
    ]
    log, variables = folder / f"gateway-{port_of(grpc)}.log", {"SEQSERVE_FRONT": front}
    with started(command, core, log, variables) as process:
        server = Server(oip_doors(grpc, http), process, log, health)
        yield server
    if process.returncode:
        raise server.failed(f"the gateway stopped with exit status {process.returncode}")


@contextmanager
def empty_aio(reply: Path, core: int) -> Iterator[Server]:
    """bench.references.empty_aio."""
    address, log = free_address(), reply.with_suffix(".aio.log")
    command = [sys.executable, "-m", "bench.references.empty_aio", address, str(reply)]
    with started(command, core, log) as process:
        yield Server(oip_doors(address), process, log)


@contextmanager
def empty_cpp(program: Path, reply: Path, core: int) -> Iterator[Server]:
    """references/empty_server.cc."""
    address, log = free_address(), reply.with_suffix(".cpp.log")
    with started([str(program), address, str(reply)], core, log) as process:
        yield Server(oip_doors(address), process, log)


def first_right_answer(server: Server, rows: Rows) -> bytes:
    """Ask until there is an answer; its reply. Raises ServerFailed, WrongAnswer."""
    door, deadline, problem = server.doors["raw"], time.monotonic() + START_SECONDS, ""
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise server.failed(f"the server ended with exit status {server.process.returncode}")
        try:
            reply = ask(door, rows)
        except NoReply as error:
            problem = str(error)
        else:
            rows.check(door.wire.read(reply, rows))
            return reply
        time.sleep(LOOK_SECONDS)
    raise server.failed(f"no answer within {START_SECONDS} s ({problem})")


@contextmanager
def started(
    command: Sequence[str], core: int, log: Path, variables: Mapping[str, str] | None = None
) -> Iterator[psutil.Popen]:
    """A program on one core, for the length of a block; it is asked to stop, and then made to.

    variables: of its environment, beside ours.
    """
    with log.open("w") as said, on_core(core):
        process = psutil.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, env=os.environ | (variables or {})
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: psutil.Popen) -> None:
    """It, and what it started and left behind."""
    family: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):  # it may have ended by itself
        family = process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs([process, *family], timeout=STOP_SECONDS)
    for member in alive:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
