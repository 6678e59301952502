"""What docs/torchserve.md says to HTTP users, run as it is written, but for the ports."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.documents import blocks, languages, run_document

PAGE = Path(__file__).parents[2] / "docs" / "torchserve.md"
SAMPLE = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LABELS = {str(digit) for digit in range(10)}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory, store: Path, two_lines: Path) -> str:
    """What all blocks print, one after the other."""
    folder = tmp_path_factory.mktemp("page")
    both = shutil.copytree(store, folder / "model-store")
    for suffix in (".mar", ".mar.sha256"):
        shutil.copy(two_lines / f"line-1{suffix}", both)
    return run_document(PAGE, folder)


@pytest.fixture(scope="module")
def replies(printed: str) -> list[Any]:
    """The JSON objects among it, in their order."""
    found, at = [], 0
    while (at := printed.find("{", at)) >= 0:
        document, at = json.JSONDecoder().raw_decode(printed, at)
        found.append(document)
    return found


def form(document: Any) -> Any:
    """Its keys and the kinds of its values; all items of a list are alike."""
    if isinstance(document, dict):
        return {key: form(value) for key, value in document.items()}
    return [form(document[0])] if isinstance(document, list) else type(document)


def test_replies_are_as_they_are_shown(replies: list[Any]) -> None:
    answered = [form(reply) for reply in replies]

    for text in SAMPLE.findall(PAGE.read_text()):
        sample = json.loads(text)
        assert form(sample) in answered
        if "predictions" not in sample:
            assert sample in replies


def test_the_same_digit_in_every_form_is_the_same_class(replies: list[Any]) -> None:
    predictions = [reply["predictions"] for reply in replies if reply.get("model_name") == "digit_mlp"]

    assert [len(found) for found in predictions] == [1, 1, 2, 2, 2, 2, 2, 2, 2, 1, 1]
    [label] = {found[0]["label"] for found in predictions}
    assert label in LABELS
    assert [len(found[0].get("top_k", [])) for found in predictions] == [0, 0, 0, 0, 2, 1, 1, 1, 1, 1, 1]


def test_the_one_block_that_is_not_run_names_servers_that_are_not_here() -> None:
    found, named = blocks(PAGE), languages(PAGE)
    assert len(found) == named.count("bash")
    assert sum(bool(block.shown) for block in found) == named.count("text") - 1
    assert "```text\nseqserve serve --engine torchserve --torchserve-address 10.0.0.5" in PAGE.read_text()
    assert set(named) == {"bash", "json", "text"}
