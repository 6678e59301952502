"""The tutorial's commands and programs, run in order as they are written, but for the ports."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.documents import blocks, languages, run_document

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


@pytest.mark.long
def test_every_block_does_and_prints_what_it_says(tmp_path: Path) -> None:
    run_document(TUTORIAL, tmp_path)

    store = {path.name for path in (tmp_path / "model-store").iterdir()}
    for name in ("line-1", "line-2", "digit_parity-1", "my_model-1", "fall-1", "fall-2", "sides-1"):
        assert f"{name}.mar" in store


def test_there_is_no_block_that_is_not_run() -> None:
    found, named = blocks(TUTORIAL), languages(TUTORIAL)
    assert len(found) == named.count("bash") + named.count("python")
    assert sum(bool(block.shown) for block in found) == named.count("text")
    assert set(named) == {"bash", "python", "text"}
