"""docs/compatibility.md: how its tables come about, and that they tell of the tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.compatibility import Row, main, rows, tables

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "compatibility.md"
REPORT = """<testsuites><testsuite>
<testcase classname="tests.e2e.test_a_client" name="test_model_ready[grpc.aio-7]">
  <properties><property name="client" value="tritonclient.grpc.aio 2.7"/></properties></testcase>
<testcase classname="tests.e2e.test_a_client" name="test_sweep[4]">
  <properties><property name="client" value="meter"/><property name="measured" value="9/s"/></properties></testcase>
<testcase classname="tests.e2e.test_a_client" name="test_streams">
  <properties><property name="client" value="meter"/></properties><failure message="no answer&#10;more"/></testcase>
<testcase classname="tests.e2e.test_other" name="test_of_ours"/>
</testsuite></testsuites>"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    return path


def test_each_test_of_a_client_is_a_row(report: Path) -> None:
    assert rows(report) == [
        Row("tritonclient.grpc.aio 2.7", "model ready: 7", "test_a_client.py", "passed"),
        Row("meter", "sweep: 4", "test_a_client.py", "9/s"),
        Row("meter", "streams", "test_a_client.py", "**failure**: no answer"),
    ]


def test_each_client_has_a_table(report: Path) -> None:
    written = tables(rows(report))

    assert (
        written.index("### meter")
        < written.index("| sweep: 4 |")
        < written.index("### tritonclient.grpc.aio 2.7")
    )


def test_tables_replace_those_of_before(report: Path, tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("Above\n<!-- tables: how -->\nof before\n<!-- end of tables -->\nBelow\n")
    main(str(report), str(document))

    text = document.read_text()
    assert "of before" not in text
    assert text.startswith("Above\n<!-- tables: how -->\n\nRun on ")
    assert text.endswith("<!-- end of tables -->\nBelow\n")


def test_a_document_without_marks_is_left_alone(report: Path, tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("Nothing to replace\n")

    with pytest.raises(SystemExit, match="no marks"):
        main(str(report), str(document))
    assert document.read_text() == "Nothing to replace\n"


def test_the_document_tells_of_every_suite_of_clients() -> None:
    told = set(re.findall(r"`(test_\w+\.py)`", DOCUMENT.read_text()))

    assert told == {path.name for path in (ROOT / "tests" / "e2e").glob("test_*_client.py")}
