"""The reasons that people write belong to targets that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.reasons import ReasonsInvalid, read_reasons
from bench.targets import TARGETS


def test_ours_belong_to_our_targets() -> None:
    assert read_reasons().keys() <= {target.name for target in TARGETS}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('python-65 = "Words."', "no target is called python-65"),
        ("python-64 = 3", "python-64: a sentence is accepted"),
        ('python-64 = ""', "python-64: a sentence is accepted"),
        ("python-64 =", "Invalid value"),
    ],
)
def test_others_are_refused(tmp_path: Path, written: str, told: str) -> None:
    file = tmp_path / "reasons.toml"
    file.write_text(written)

    with pytest.raises(ReasonsInvalid, match=told):
        read_reasons(file)
