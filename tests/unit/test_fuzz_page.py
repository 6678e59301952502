"""The table of docs/reliability.md that `python -m fuzz --record` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.__main__ import ORDER
from fuzz.page import HEAD, Found, check_marks, record

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
MARKS = f"before\n<!-- fuzz: x -->\n{HEAD}\n| `b` | 1 |  | 2 | 1970-01-01 |\n<!-- end of fuzz -->\nafter\n"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(MARKS)
    return path


def rows(document: Path) -> list[str]:
    return [line.rpartition("| ")[0] for line in document.read_text().splitlines() if line.startswith("| `")]


def test_a_run_has_its_row_and_other_rows_stay(document: Path) -> None:
    record([Found("c", "", 0, "1,000", "7"), Found("a", "", 3, "2 requests")], document, "abc")

    assert rows(document) == ["| `a` | 2 requests |  | 3 ", "| `b` | 1 |  | 2 ", "| `c` | 1,000 | 7 | 0 "]
    assert "1970-01-01" in document.read_text()
    assert document.read_text().startswith("before\n<!-- fuzz: x -->\n")
    assert document.read_text().endswith("<!-- end of fuzz -->\nafter\n")


def test_a_second_run_takes_the_place_of_the_first(document: Path) -> None:
    record([Found("b", "", 0, "5", "6")], document, "abc")
    first = document.read_text()
    record([Found("b", "", 0, "5", "6")], document, "abc")

    assert rows(document) == ["| `b` | 5 | 6 | 0 "]
    assert document.read_text() == first


def test_what_was_left_out_changes_no_row(document: Path) -> None:
    record([Found("b", "left out", 0)], document, "abc")

    assert rows(document) == ["| `b` | 1 |  | 2 "]


def test_a_document_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(ValueError, match="no marks"):
        check_marks(tmp_path / "page.md")


def test_the_document_has_a_row_for_each_target() -> None:
    check_marks(DOCUMENT)
    assert [row.split("`")[1] for row in rows(DOCUMENT) if row.split("`")[1] in ORDER] == [*ORDER]
