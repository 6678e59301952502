"""The archives that the benchmark makes for itself are whole, and answer what they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.copies import write_copies
from bench.slow_model import MAX_BATCH, package
from seqserve.archive import read_archive, scan_store
from seqserve.trust import UNCHECKED
from support.archives import make_archive


def test_copies_are_whole_under_names_of_their_own(tmp_path: Path) -> None:
    original = read_archive(make_archive(tmp_path, "tiny", "7"), UNCHECKED)

    write_copies(tmp_path / "tiny-7.mar", tmp_path, 2)

    read = [read_archive(path, UNCHECKED) for path in scan_store(tmp_path)]
    assert [(archive.name, archive.version) for archive in read] == [
        ("tiny", "7"),
        ("tiny_1", "7"),
        ("tiny_2", "7"),
    ]
    assert all(archive.torchscript == original.torchscript for archive in read)


@pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning")
def test_the_slow_model_answers_the_mean_whatever_it_multiplies(tmp_path: Path) -> None:
    package(tmp_path, "slow")

    archive = read_archive(tmp_path / "slow-1.mar", UNCHECKED)

    means = archive.golden_inputs.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(archive.golden_outputs, means, atol=1e-6)
    assert archive.signature.max_batch_size == MAX_BATCH
