"""docs/metrics.md and the table that it is written from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seqserve.metrics.page import page
from seqserve.metrics.rows import MetricRow
from seqserve.metrics.table import rows

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_in_the_docs_is_what_the_table_says() -> None:
    assert DOCS.read_text("utf-8") == page(), "run `make docs`"


def test_no_name_is_there_twice() -> None:
    names = [row.name for row in rows()]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_names_follow_the_rules(row: MetricRow) -> None:
    assert re.fullmatch(r"(seqserve|process|python)_[a-z_]+", row.name)
    assert row.name.endswith("_total") == (row.kind == "counter")
    assert row.name.endswith("_info") == (row.kind == "info")
    for unit in ("seconds", "bytes"):
        assert (f"_{unit}" in row.name) == (row.unit == unit)
