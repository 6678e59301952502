"""The programs of docs/client.md, run as they are written, but for the port."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.documents import Block, at, blocks, languages, run_block
from support.guarded import Guarded
from support.served import Served

DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"
WRITTEN, GUARDED = "127.0.0.1:8001", "gateway.example:8001"
BLOCKS = blocks(DOCUMENT)
PLAIN = [block for block in BLOCKS if GUARDED not in block.text]
WITH_TLS = [block for block in BLOCKS if GUARDED in block.text]


@pytest.mark.parametrize("block", PLAIN, ids=lambda block: block.shown.partition("\n")[0])
def test_every_program_prints_what_the_document_shows(
    open_gateway: Served, tmp_path: Path, block: Block
) -> None:
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "digit.png")

    run_block(at(open_gateway, block), tmp_path)


@pytest.mark.parametrize("block", WITH_TLS, ids=lambda block: block.shown.partition("\n")[0])
def test_every_program_with_tls_and_a_token_prints_it_too(
    guarded: Guarded, tmp_path: Path, block: Block
) -> None:
    callers = shutil.copytree(guarded.folder, tmp_path / "callers")
    here = block._replace(text=block.text.replace(GUARDED, WRITTEN))

    run_block(at(guarded.served, here), callers)


def test_there_is_no_program_that_is_not_run_or_shows_nothing() -> None:
    named = languages(DOCUMENT)
    assert len(BLOCKS) == named.count("python") + named.count("bash") == named.count("text")
    assert all(block.shown for block in BLOCKS)
    assert len(WITH_TLS) == 3
