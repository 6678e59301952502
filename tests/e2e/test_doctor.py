"""`seqserve doctor` as a process: a store and a machine that are fine, and some that are not."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.served import TORCHSERVE_ON_FREE_PORTS, run

FREE_PORTS = ("--grpc-port=0", "--http-port=0", *TORCHSERVE_ON_FREE_PORTS)
# Nobody listens there; and these settings need neither torch nor Java, which would take their time.
ELSEWHERE = ("--engine=torchserve", "--torchserve-address=127.0.0.1:1")


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.mark.skipif(importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed")
def test_where_all_is_well_every_check_is_made_and_the_status_is_0(store: Path) -> None:
    ended = run("doctor", "--json", "--with-torchserve", "--model-store", store, *FREE_PORTS)
    found = {one["check"]: one for one in json.loads(ended.stdout)}

    assert (ended.returncode, ended.stderr) == (0, "")
    assert {one["status"] for one in found.values()} <= {"ok", "warning"}
    assert found["java"]["found"].startswith("Java ")
    assert found["handlers"]["found"] == "imported: 1, of 1 archives"
    assert "archives 1, models 1; all hashes agree" in found["store"]["found"]
    assert "torchserve 0.12.0" in found["packages"]["found"]
    assert "torch 2.13" in found["device"]["found"]


def test_a_taken_port_a_broken_archive_and_an_address_without_torchserve_are_faults(
    tmp_path: Path, store: Path, taken_port: int
) -> None:
    broken = shutil.copytree(store, tmp_path / "model-store") / "digit_mlp-1.mar"
    broken.write_bytes(broken.read_bytes()[:-1])
    ended = run(
        "doctor", "--model-store", broken.parent, "--http-port=0", f"--grpc-port={taken_port}", *ELSEWHERE
    )
    said = " ".join(ended.stdout.split())

    assert ended.returncode == 1
    assert ended.stderr.startswith("seqserve: faults: 3, ")
    assert f"grpc_port: 127.0.0.1:{taken_port} is taken by " in said
    assert f"(process {os.getpid()})" in said
    assert "or choose another port with --grpc-port" in said
    assert "digit_mlp-1.mar: SHA-256 is" in said
    assert "127.0.0.1:1: no connection: Connection refused" in said


def test_a_missing_store_is_a_fault(tmp_path: Path) -> None:
    ended = run("doctor", "--model-store", tmp_path / "gone", *FREE_PORTS, *ELSEWHERE)

    assert ended.returncode == 1
    assert f"there is no model store at {tmp_path / 'gone'}" in " ".join(ended.stdout.split())
    assert "seqserve build" in ended.stdout
