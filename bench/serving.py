"""Starts servers on one core, and ends them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

from bench.load import on_core
from bench.messages import MODEL_INFER, Rows, infer_request, read_reply
from examples.demo.command import SEQSERVE

START_SECONDS = 90
STOP_SECONDS = 30
LOOK_SECONDS = 0.02
HOST = "127.0.0.1"
CHANNEL_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class ServerFailed(Exception):
    """A server did not start, or ended; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs. address: HOST:PORT of its gRPC. health: the same of its probes, empty: none."""

    address: str
    process: psutil.Popen
    log: Path
    health: str = ""

    def cpu_seconds(self) -> float:
        """That it has used until now."""
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def memory_bytes(self) -> int:
        """Resident, of it and of what it started."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(int(member.memory_info().rss) for member in family)

    def failed(self, why: str) -> ServerFailed:
        """With the end of its log."""
        return ServerFailed(f"{why}:\n{self.log.read_text()[-2000:]}")


def free_address() -> str:
    """A port of the loopback that nobody has now."""
    with closing(socket.socket()) as listener:
        listener.bind((HOST, 0))
        return f"{HOST}:{listener.getsockname()[1]}"


@contextmanager
def gateway(store: Path, core: int, folder: Path) -> Iterator[Server]:
    """`seqserve serve` with its Python front, as it is by default; it may not be ready yet.

    Raises ServerFailed at the end of the block where it does not stop as it should.
    """
    address, health = free_address(), free_address()
    command = [
        *(SEQSERVE, "serve", "--model-store", str(store), "--log-format", "json", "--http-port", "0"),
        *("--grpc-port", address.rpartition(":")[2], "--health-port", health.rpartition(":")[2]),
        *("--drain-pause-seconds", "0"),
    ]
    with _started(command, core, folder / "gateway.log") as (process, log):
        server = Server(address, process, log, health)
        yield server
    if process.returncode:
        raise server.failed(f"the gateway stopped with exit status {process.returncode}")


@contextmanager
def empty_aio(reply: Path, core: int) -> Iterator[Server]:
    """bench.references.empty_aio."""
    address = free_address()
    command = [sys.executable, "-m", "bench.references.empty_aio", address, str(reply)]
    with _started(command, core, reply.with_suffix(".aio.log")) as (process, log):
        yield Server(address, process, log)


@contextmanager
def empty_cpp(program: Path, reply: Path, core: int) -> Iterator[Server]:
    """references/empty_server.cc."""
    address = free_address()
    with _started([str(program), address, str(reply)], core, reply.with_suffix(".cpp.log")) as (process, log):
        yield Server(address, process, log)


def first_right_answer(server: Server, rows: Rows) -> bytes:
    """Ask until there is an answer; its reply. Raises ServerFailed, WrongAnswer, grpc.RpcError."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise server.failed(f"the server ended with exit status {server.process.returncode}")
        if _listens(server.address) and (reply := _reply(server.address, infer_request(rows))) is not None:
            rows.check(read_reply(reply))
            return reply
        time.sleep(LOOK_SECONDS)
    raise server.failed(f"no answer within {START_SECONDS} s")


def _listens(address: str) -> bool:
    """Looked at first: a gRPC channel waits a second after a connection that was refused."""
    host, _, port = address.rpartition(":")
    with closing(socket.socket()) as probe:
        return probe.connect_ex((host, int(port))) == 0


def _reply(address: str, request: bytes) -> bytes | None:
    """None while it is not ready."""
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        call = channel.unary_unary(MODEL_INFER, request_serializer=bytes, response_deserializer=bytes)
        asked = call.future(request, timeout=START_SECONDS)
        if asked.code() is grpc.StatusCode.UNAVAILABLE:
            return None
        reply: bytes = asked.result()
        return reply


@contextmanager
def _started(command: Sequence[str], core: int, log: Path) -> Iterator[tuple[psutil.Popen, Path]]:
    with log.open("w") as said, on_core(core):
        process = psutil.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
        yield process, log
    finally:
        _stop(process)


def _stop(process: psutil.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)
