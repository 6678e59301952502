"""What docs/access.md says: its blocks run as they are written, but for the ports, and its table is the code's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from seqserve.grpc_api.scopes import SCOPES
from support.documents import run_document
from support.served import plain_lines

PAGE = Path(__file__).parents[2] / "docs" / "access.md"
ROW = re.compile(r"^\| `(inference|admin|metrics)` \| ([^|]*) \|", re.MULTILINE)


@pytest.mark.long
def test_every_program_does_what_it_is_shown_for_and_no_token_is_logged(tmp_path: Path, store: Path) -> None:
    shutil.copytree(store, tmp_path / "model-store")

    printed = run_document(PAGE, tmp_path)

    log = (tmp_path / "gateway.log").read_text()
    assert plain_lines(log) == []
    assert log.count("configuration taken over") == 2
    for file in ("phone.token", "phone.new"):
        token = (tmp_path / file).read_text().strip()
        assert token not in log
        assert token not in printed


def test_the_table_has_every_grpc_method_beside_its_scope() -> None:
    shown = {
        (method, scope)
        for scope, cell in ROW.findall(PAGE.read_text())
        for method in re.findall(r"`([A-Z]\w+)`", cell)
    }

    assert shown == {(path.rpartition("/")[2], scope) for path, scope in SCOPES.items()}
