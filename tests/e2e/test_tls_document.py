"""What docs/tls.md says, run as it is written, but for the ports."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.documents import run_document
from support.served import plain_lines

PAGE = Path(__file__).parents[2] / "docs" / "tls.md"


def test_every_program_does_what_it_is_shown_for_and_callers_cannot_fill_the_log(
    tmp_path: Path, store: Path
) -> None:
    shutil.copytree(store, tmp_path / "model-store")

    run_document(PAGE, tmp_path)

    assert plain_lines((tmp_path / "gateway.log").read_text()) == []
