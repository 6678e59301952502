"""What docs/upgrades.md says, run as it is written, but for the ports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.documents import blocks, languages, run_document

PAGE = Path(__file__).parents[2] / "docs" / "upgrades.md"


@pytest.mark.long
def test_a_version_comes_by_shares_and_takes_over(tmp_path: Path) -> None:
    printed = run_document(PAGE, tmp_path)

    shares = dict(re.findall(r"'(\d)': (\d+)", printed))
    assert int(shares["1"]) + int(shares["2"]) == 200
    assert 1 <= int(shares["2"]) <= 60
    assert re.search(r'seqserve_requests_total\{.*version="2"\} [1-9]', printed)
    assert 'seqserve_model_label{label="stable",model="digit_mlp",version="2"} 1.0' in printed


def test_there_is_no_block_that_is_not_run() -> None:
    assert len(blocks(PAGE)) == languages(PAGE).count("bash")
    assert set(languages(PAGE)) == {"bash"}
