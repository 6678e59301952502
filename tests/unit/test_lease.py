"""Leases on archives: who serves one is seen, also from another process, for as long as it lives."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from seqserve.lease import CLAIMED, REPLACED, SERVED, claim, hold, is_held
from seqserve.repository import loading as loading_module
from seqserve.repository.table import Repository
from support.archives import make_archive
from support.engines import FakeEngine
from support.repositories import load_all

HOLD = """
import sys
from pathlib import Path
from seqserve.lease import hold
lease = hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def refuse(descriptor: int, operation: int) -> None:
    """As flock does on a file system without locks."""
    raise OSError(37, "No locks available")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "m-1.mar"
    path.write_bytes(b"archive")
    return path


@pytest.fixture
def holder(archive: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that serves the archive."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, archive], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_where_no_file_is_left_to_lock_that_is_raised(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", no_file)
    with pytest.raises(OSError, match="Too many open files"):
        hold(archive)


def test_an_archive_is_served_until_the_last_lease_ends(archive: Path) -> None:
    first, second = hold(archive), hold(archive)
    first.close()
    assert is_held(archive)
    second.close()
    second.close()
    assert not is_held(archive)


def test_a_claim_says_why_an_archive_must_stay(archive: Path) -> None:
    with claim(archive) as reason:
        assert reason == ""
    lease = hold(archive)
    with claim(archive) as reason:
        assert reason == SERVED
    lease.close()


def test_a_lease_of_another_process_ends_when_it_is_killed(
    archive: Path, holder: subprocess.Popen[str]
) -> None:
    assert is_held(archive)
    holder.kill()
    holder.wait()
    assert not is_held(archive)


def test_what_cannot_be_opened_is_served_without_a_lease(tmp_path: Path, archive: Path) -> None:
    link = tmp_path / "m-2.mar"
    link.symlink_to(archive)
    for path in (tmp_path / "gone.mar", link):
        hold(path).close()
        assert not is_held(path)
    assert not is_held(archive)


def test_without_locks_an_archive_is_served_and_must_stay(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse)
    with hold(archive) as lease:
        assert lease.fault == "No locks available"
    with claim(archive) as reason:
        assert reason == "whether a gateway serves it cannot be told here: No locks available"
    assert is_held(archive) is None


def test_two_claims_are_told_from_a_lease(archive: Path) -> None:
    with claim(archive), claim(archive) as reason:
        assert reason == CLAIMED
    assert is_held(archive) is False


def test_a_lease_is_taken_once_a_claim_is_over(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = claim(archive)
    looking.__enter__()
    monkeypatch.setattr("seqserve.lease.time.sleep", lambda _: looking.__exit__(None, None, None))
    with hold(archive) as lease:
        assert lease.fault == ""
        assert is_held(archive)


def test_a_claim_that_does_not_end_keeps_nobody_from_serving(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqserve.lease.time.sleep", lambda _: None)
    with claim(archive):
        assert hold(archive).fault == CLAIMED


def test_a_lease_is_on_the_file_that_the_path_names(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_when_locked(archive, monkeypatch)
    with hold(archive):
        assert is_held(archive)


def test_an_archive_that_goes_while_it_is_locked_gives_no_lease(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_when_locked(archive, monkeypatch, content=None)
    with hold(archive) as lease:
        assert lease.fault == ""  # reading it says that it is gone
    assert not archive.exists()


def test_a_claim_is_on_the_file_that_the_path_names(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_when_locked(archive, monkeypatch)
    with claim(archive) as reason:
        assert reason == REPLACED


def test_a_program_that_we_start_does_not_inherit_a_lease(archive: Path) -> None:
    lease = hold(archive)
    command = [sys.executable, "-c", "print('running', flush=True); input()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        lease.close()
        assert is_held(archive) is False
        child.communicate("\n")


def replace_when_locked(path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None = b"new") -> None:
    """Somebody prunes the archive, and publishes another, between our opening and locking it."""
    flock = fcntl.flock

    def swap(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", swap)


# ---- the repository's leases ----


async def test_a_loaded_version_holds_its_lease_until_it_is_unloaded(tmp_path: Path) -> None:
    path, repository = make_archive(tmp_path), Repository()
    await load_all(repository, [path], FakeEngine())
    assert is_held(path)
    await repository.aclose()
    assert is_held(path) is False


async def test_a_version_that_failed_holds_no_lease(tmp_path: Path) -> None:
    path, repository = make_archive(tmp_path), Repository()
    path.write_bytes(b"no zip")
    await load_all(repository, [path], FakeEngine())
    assert is_held(path) is False


async def test_without_locks_every_archive_is_served_and_one_line_of_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(loading_module, "log", log)
    monkeypatch.setattr(fcntl, "flock", refuse)
    repository = Repository()
    await load_all(repository, [make_archive(tmp_path, version=v) for v in ("1", "2")], FakeEngine())
    assert repository.are_all_ready()
    [warning] = [call for call in log.calls if call.method_name == "warning"]
    assert warning.kwargs["reason"] == "No locks available"
    await repository.aclose()
