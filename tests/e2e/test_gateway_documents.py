"""What the pages of PROGRAMS and FILES say, run as it is written but for the ports."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqserve.settings_reading import read_settings
from support.documents import Block, at, blocks, run_block
from support.served import Served

DOCS = Path(__file__).parents[2] / "docs"
TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = [block for page in ("rest.md", "versions.md", "doctor.md") for block in blocks(DOCS / page)]
FILES = [
    text for page in ("versions.md", "configuration.md") for text in TOML.findall((DOCS / page).read_text())
]


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.text.partition("\n")[0])
def test_every_program_does_what_it_is_shown_for(open_gateway: Served, tmp_path: Path, block: Block) -> None:
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "seven.png")

    assert '"error"' not in run_block(at(open_gateway, block), tmp_path)


@pytest.mark.parametrize("text", FILES, ids=["versions", "configuration"])
def test_every_file_is_one_that_the_gateway_takes(tmp_path: Path, text: str) -> None:
    (tmp_path / "seqserve.toml").write_text(text)

    assert read_settings({}, tmp_path / "seqserve.toml").of_model("digit_mlp").labels["stable"] == "3"
