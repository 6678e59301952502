"""Cores: affinity, bounded by a container's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seqserve.cores import available_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("50000 25000\n", 2),
        ("", 8),
        ("nonsense\n", 8),
    ],
    ids=[
        "no quota",
        "two",
        "one and a half",
        "a tenth",
        "more than there are",
        "another period",
        "empty",
        "one word",
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, limit: str, cores: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(limit)

    assert available_cores(file) == cores


def test_without_a_limit_file_affinity_decides(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "cpu.max") == 8
