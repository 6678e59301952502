"""Whoever reads a gateway's log stops reading, and the pipe fills up: lines are lost, and nobody waits for it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.checked import ask_over_http, checked, web_of
from support.http2 import END_HEADERS, END_STREAM, HEADERS, SETTINGS, connected, frame, header_block
from support.served import SEQSERVE, environment

PIPE_BYTES = 4096
CALLS = 100
STOP_SECONDS = 60
BAD = frame(
    HEADERS,
    header_block([(b":status", b"xyz"), (b":scheme", b"zzz"), (b":path", b"/x")]),
    stream=1,
    flags=END_HEADERS | END_STREAM,
)
"""gRPC's C++ writes a line of its own about each."""


@pytest.fixture
def unread(store: Path, front: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A gateway whose log is read until it serves and no further, and where it listens."""
    options = ("--log-format=json", "--log-level=debug", "--grpc-port=0", "--http-port=0")
    command = [str(SEQSERVE), "serve", f"--model-store={store}", f"--front={front}", *options]
    with pipe() as (read, write):
        process = subprocess.Popen(command, stderr=write, env=environment())
        os.close(write)
        try:
            yield process, where(read)
        finally:
            process.kill()
            process.wait()


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A small one. Whoever gets its second end closes it."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield read, write
    os.close(read)


def where(read: int) -> dict[str, Any]:
    """Read the log until the gateway serves; returns what it said when it began to listen."""
    said = b""
    while b'"event": "serving"' not in said:
        said += os.read(read, 1)
    events = [json.loads(line) for line in said.splitlines()[:-1]]
    return next(event for event in events if event["event"] == "listening")


async def test_a_log_whose_reader_has_stopped_stops_nobody(
    unread: tuple[subprocess.Popen[bytes], dict[str, Any]],
) -> None:
    process, ports = unread
    async with (
        checked(f"127.0.0.1:{ports['grpc_port']}") as caller,
        web_of(f"http://127.0.0.1:{ports['http_port']}") as web,
    ):
        for at in range(CALLS):
            async with connected(ports["grpc_port"]) as peer:
                await peer.send(frame(SETTINGS) + BAD)
                await peer.read()
            assert await caller.call([0], model="nobody's") == "NOT_FOUND"
            assert await caller.call([at % 64]) == "OK"
        assert await ask_over_http(web) == 200
        assert not caller.wrong
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0
