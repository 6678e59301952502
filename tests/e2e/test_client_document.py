"""The programs of docs/client.md, run as they are written, but for the port."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.documents import Block, at, blocks, languages, run_block
from support.served import Served

DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"


@pytest.mark.parametrize("block", blocks(DOCUMENT), ids=lambda block: block.shown.partition("\n")[0])
def test_every_program_prints_what_the_document_shows(
    open_gateway: Served, tmp_path: Path, block: Block
) -> None:
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "digit.png")

    run_block(at(open_gateway, block), tmp_path)


def test_there_is_no_program_that_is_not_run_or_shows_nothing() -> None:
    named = languages(DOCUMENT)
    assert len(blocks(DOCUMENT)) == named.count("python") == named.count("text")
    assert all(block.shown for block in blocks(DOCUMENT))
