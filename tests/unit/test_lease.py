"""Leases on archives: who serves one is seen, also from another process, for as long as it lives."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqserve.lease import SERVED, Lease, claim, is_served

HOLD = """
import sys
from pathlib import Path
from seqserve.lease import Lease
lease = Lease(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


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


def test_an_archive_is_served_until_the_last_lease_ends(archive: Path) -> None:
    first, second = Lease(archive), Lease(archive)
    first.close()
    assert is_served(archive)
    second.close()
    second.close()
    assert not is_served(archive)


def test_a_claim_says_why_an_archive_must_stay(archive: Path) -> None:
    with claim(archive) as reason:
        assert reason == ""
    lease = Lease(archive)
    with claim(archive) as reason:
        assert reason == SERVED
    lease.close()


def test_a_lease_of_another_process_ends_when_it_is_killed(
    archive: Path, holder: subprocess.Popen[str]
) -> None:
    assert is_served(archive)
    holder.kill()
    holder.wait()
    assert not is_served(archive)


def test_what_cannot_be_opened_is_served_without_a_lease(tmp_path: Path, archive: Path) -> None:
    link = tmp_path / "m-2.mar"
    link.symlink_to(archive)
    for path in (tmp_path / "gone.mar", link):
        Lease(path).close()
        assert not is_served(path)
    assert not is_served(archive)


def test_without_locks_an_archive_is_served_and_must_stay(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    Lease(archive).close()
    with claim(archive) as reason:
        assert reason == "whether a gateway serves it cannot be told here: No locks available"
