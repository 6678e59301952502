"""Disks that are full, and file systems that cannot be written, under a real gateway."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.checked import ask_over_http, checked, web_of
from support.exposition import total
from support.own_torchserve import OWN_TORCHSERVE, needs_torchserve
from support.reloads import bring
from support.running import until
from support.served import SEQSERVE, Served, serving, started
from support.truth import MODEL, put_version

SMALL_BYTES = 512 << 10
ROWS = range(64)


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of memory there. Skips where this process may not mount."""
    folder.mkdir()
    asked = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "none", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if asked.returncode:
        pytest.skip(f"needs the right to mount: {asked.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def make_read_only(folder: Path) -> None:
    """Of a mounted one."""
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)


@contextlib.contextmanager
def full(folder: Path, *, but_for_bytes: int = 0) -> Iterator[None]:
    """While nothing more can be written there, or so much."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    os.truncate(filler, filler.stat().st_size - but_for_bytes)
    yield
    filler.unlink()


@contextlib.contextmanager
def full_to_the_last_byte(folder: Path, log: Path) -> Iterator[None]:
    """The same, also of a log that is written at its end: what it holds of its last page is filled as well."""
    with full(folder):
        with log.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\n")
        size = log.stat().st_size
        yield
        assert log.stat().st_size == size, "there was room, so that nothing is shown"


async def answered(gateway: Served, *versions: str) -> None:
    """Both APIs answer, and right; the versions that do are these."""
    async with checked(gateway.grpc) as caller, web_of(gateway.http) as web:
        assert [await caller.call(ROWS) for _ in range(5)] == ["OK"] * 5
        assert await ask_over_http(web, [1, 2]) == 200
        assert (caller.wrong, caller.versions) == (0, set(versions))


async def test_a_full_store_refuses_what_was_cut_short_and_takes_it_once_there_is_room(
    tmp_path: Path, front: str
) -> None:
    with mounted(tmp_path / "store", f"size={SMALL_BYTES}") as store:
        put_version(store, "1")
        with serving(tmp_path, store, f"--front={front}", "--watch-interval-seconds=0.2") as gateway:
            with full(store), pytest.raises(OSError, match="No space left"):
                bring(store, "2", is_broken=False)
            await answered(gateway, "1")
            bring(store, "2", is_broken=False)
            async with checked(gateway.grpc) as caller:
                while "2" not in caller.versions:
                    assert await caller.call() == "OK"
            await answered(gateway, "2")


@contextlib.contextmanager
def logging_on_a_small_disk(folder: Path, store: Path, front: str) -> Iterator[tuple[Served, Path]]:
    """A gateway that serves, and where its log lies."""
    with (
        mounted(folder / "log", f"size={SMALL_BYTES}") as log,
        started(log, store, f"--front={front}", "--watch-interval-seconds=0.2") as gateway,
    ):
        gateway.wait_for("serving")
        yield gateway, log


async def refused_one(gateway: Served, store: Path) -> None:
    """It has refused version 2, which a line of its log is about, and answers on."""
    (store / f"{MODEL}-2.mar").write_bytes(b"none")
    (store / f"{MODEL}-2.mar.sha256").write_text(f"{'0' * 64}  {MODEL}-2.mar\n")
    while not await total(gateway.http, "seqserve_reloads_total", result="refused"):
        await answered(gateway, "1")


@pytest.mark.long
async def test_a_log_that_finds_no_room_stops_nobody(tmp_path: Path, store: Path, front: str) -> None:
    """Neither calls, nor a new version, nor the end."""
    with (
        logging_on_a_small_disk(tmp_path, store, front) as (gateway, log),
        full_to_the_last_byte(log, gateway.log),
    ):
        await refused_one(gateway, store)
        bring(store, "3", is_broken=False)
        async with checked(gateway.grpc) as caller:
            while "3" not in caller.versions:
                assert await caller.call() == "OK"
        await answered(gateway, "3")
        assert gateway.end() == 0


@pytest.mark.long
async def test_a_log_that_finds_room_again_says_how_much_it_lacks(
    tmp_path: Path, store: Path, front: str
) -> None:
    with logging_on_a_small_disk(tmp_path, store, front) as (gateway, log):
        with full_to_the_last_byte(log, gateway.log):
            await refused_one(gateway, store)
        assert gateway.end() == 0
        assert gateway.events()["log lines lost"]["lines"] > 0


@pytest.mark.long
async def test_a_store_that_cannot_be_written_is_served(tmp_path: Path, front: str) -> None:
    with mounted(tmp_path / "store", f"size={SMALL_BYTES}") as store:
        put_version(store, "1")
        make_read_only(store)
        with serving(tmp_path, store, f"--front={front}") as gateway:
            await answered(gateway, "1")


READ_ONLY = 'mount -o remount,bind,ro / && mount -t tmpfs none "$1" && shift && exec "$@"'
"""In a mount namespace of its own: all is read-only but one folder."""


def can_run(*command: str) -> bool:
    """Whether this process may."""
    return not subprocess.run(command, check=False).returncode


@pytest.mark.long
async def test_it_needs_no_file_system_but_a_folder_for_temporary_files(
    tmp_path: Path, models: Path, front: str
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    inside = ("unshare", "--mount", "sh", "-c", READ_ONLY, "sh", str(temporary))
    if shutil.which("unshare") is None or not can_run(*inside, "true"):
        pytest.skip("needs unshare, and the right to mount")
    program = (*inside, str(SEQSERVE))
    with started(tmp_path, models, f"--front={front}", program=program, TMPDIR=str(temporary)) as gateway:
        gateway.wait_for("serving")
        await answered(gateway, "1")
        assert gateway.end() == 0


async def until_answered_by(gateway: Served, version: str) -> None:
    """Return when calls are; on the way there are those that no version is ready for."""
    async with checked(gateway.grpc) as caller:
        while version not in caller.versions:
            assert await caller.call() in {"OK", "UNAVAILABLE"}
            await asyncio.sleep(0.05)


def waiting(gateway: Served, version: str) -> str:
    """Why a version waits for its engine; "" of one that does not."""
    told = gateway.events().get("model waits for its engine", {})
    return str(told["reason"]) if told.get("version") == version else ""


@needs_torchserve
@pytest.mark.long
@pytest.mark.parametrize("front", ["python"], indirect=True)
async def test_a_version_that_torchserve_has_no_room_to_unpack_waits_for_it(
    tmp_path: Path, front: str
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    archive_bytes = put_version(store, "1").stat().st_size
    room = archive_bytes + archive_bytes // 3  # for its copy, and not for what is unpacked beside that
    with mounted(tmp_path / "torchserve", f"size={8 * SMALL_BYTES}", "mode=700") as folder:
        options = (f"--front={front}", OWN_TORCHSERVE, f"--torchserve-folder={folder}")
        with serving(tmp_path, store, *options) as gateway:
            await until_answered_by(gateway, "1")
            with full(folder, but_for_bytes=room):
                bring(store, "2", is_broken=False)
                await until(lambda: waiting(gateway, "2"))
                assert "cannot unpack" in waiting(gateway, "2")
                await answered(gateway, "1")
            await until_answered_by(gateway, "2")
            await answered(gateway, "2")
