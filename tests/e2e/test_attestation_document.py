"""What docs/attestation.md says, run as it is written, but for the ports."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.documents import blocks, languages, run_document

PAGE = Path(__file__).parents[2] / "docs" / "attestation.md"
SAMPLE = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.long
def test_every_block_does_what_it_says(tmp_path: Path) -> None:
    printed = run_document(PAGE, tmp_path)

    names, shown = printed[printed.rindex("application/vnd.in-toto+json") :].split("\n", 1)
    assert len(re.findall("[0-9a-f]{32}", names)) == 2
    said = json.loads(shown)
    said["subject"][0]["digest"]["sha256"] = "…"
    assert [said] == [json.loads(sample) for sample in SAMPLE.findall(PAGE.read_text())]
    assert (tmp_path / "model-store" / "line-1.mar.sig").exists()


def test_there_is_no_block_that_is_not_run() -> None:
    found, named = blocks(PAGE), languages(PAGE)
    assert len(found) == named.count("bash") + named.count("python")
    assert set(named) == {"bash", "python", "json"}
