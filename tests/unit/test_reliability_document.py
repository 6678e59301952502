"""docs/reliability.md: how its table comes about, and that it tells of tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from soak.page import check_marks, record
from soak.report import Report
from soak.run import Options
from soak.tally import Tally
from support.junit import cases
from support.reliability import PROMISES, TABLE, files, main, table

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"
MODULE, _, START = PROMISES[0].tests[0].partition("::")
NAME = MODULE.rpartition("/")[2]
REPORT = f"""<testsuites><testsuite>
<testcase classname="tests.{MODULE.replace("/", ".")}" name="{START}_and_so_on[python]">
  <properties><property name="answered" value="1068"/><property name="exit_seconds" value="1.02764"/>
    <property name="outcomes" value="{{'OK': 5}}"/></properties></testcase>
<testcase classname="tests.{MODULE.replace("/", ".")}" name="{START}_and_so_on[native]"><skipped message="not built"/></testcase>
<testcase classname="tests.unit.{NAME}_other" name="{START}_and_so_on[python]"/>
</testsuite></testsuites>"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    return path


def test_a_promise_has_the_results_of_its_tests(report: Path) -> None:
    rows = [line for line in table(cases(report)).splitlines() if line.startswith("| ")][1:]

    assert rows[0] == (
        f"| {PROMISES[0].words} | `{PROMISES[0].tests[0]}` | 1 passed, 1 skipped | "
        "python: answered 1,068, exit seconds 1.03, outcomes OK: 5 |"
    )
    assert len(rows) == sum(len(promise.tests) for promise in PROMISES)
    assert all("**not run**" in row for row in rows[1:])


def test_the_table_stands_between_its_marks(report: Path, tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text("before\n<!-- table: by make -->\nold\n<!-- end of table -->\nafter\n")
    main(str(report), str(document))

    text = document.read_text()
    assert text.startswith("before\n<!-- table: by make -->\n")
    assert text.endswith("<!-- end of table -->\nafter\n")
    assert "old" not in text
    assert "1 passed, 1 skipped" in text


def test_reports_of_short_and_long_forms_count_together(report: Path, tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text("<!-- table: by make -->\n<!-- end of table -->\n")
    main(str(report), str(report), str(document))

    assert "2 passed, 2 skipped" in document.read_text()


def test_a_soak_stands_between_the_marks_of_its_front_and_engine(tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text(
        "<!-- soak: x -->\nold\n<!-- end of soak -->\n<!-- soak: y -->\nkept\n<!-- end of soak -->\n"
    )
    record(Report("x", 60, Tally(), [], status=0), document)

    text = document.read_text()
    assert "x: 60.0 minutes, 0 calls" in text
    assert "old" not in text
    assert "kept" in text
    with pytest.raises(ValueError, match="no marks"):
        record(Report("z", 60, Tally(), [], status=0), document)


@pytest.mark.parametrize(
    ("front", "engine"), [("python", "embedded"), ("native", "embedded"), ("native", "torchserve")]
)
def test_the_document_has_a_place_for_a_soak(front: str, engine: str) -> None:
    check_marks(Options(60, front, engine).title, DOCUMENT)


def test_every_test_that_is_named_is_there() -> None:
    for test in (test for promise in PROMISES for test in promise.tests):
        module, _, start = test.partition("::")
        text = (ROOT / "tests" / f"{module}.py").read_text()
        assert re.search(rf"def {start or 'test_'}", text), test
    assert all((ROOT / name).exists() for name in files())


def test_the_document_has_a_row_for_each() -> None:
    found = TABLE.search(DOCUMENT.read_text())
    assert found
    for promise in PROMISES:
        assert f"| {promise.words} |" in found[0]
        assert all(f"`{test}`" in found[0] for test in promise.tests)
