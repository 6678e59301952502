"""Writes the tables of docs/compatibility.md from what pytest has just run: `compatibility.py REPORT DOCUMENT`.

REPORT: JUnit's XML. A test is a row where it has recorded a `client`; `measured` stands for its result.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from support.junit import Case, cases

TABLES = re.compile(r"(<!-- tables: [^>]*-->\n).*?(<!-- end of tables -->)", re.DOTALL)


class Row(NamedTuple):
    """One test of one client."""

    client: str
    feature: str
    test: str
    result: str


def rows(report: Path) -> list[Row]:
    """Those of all tests that name a client, in the order in which they ran."""
    return [_row(case) for case in cases(report) if "client" in case.properties]


def _row(case: Case) -> Row:
    client = case.properties["client"]
    known = re.split(r"[ ,]+|(?<=tritonclient)\.", client)
    parameters = [each for each in case.parameters.split("-") if each not in known]
    feature = _feature(case.name.removeprefix("test_"), parameters)
    return Row(client, feature, f"{case.module}.py", case.properties.get("measured") or case.result)


def _feature(name: str, parameters: Sequence[str]) -> str:
    """The test's name in words, with what tells its rows apart."""
    return ": ".join(filter(None, [name.replace("_", " "), ", ".join(parameters)]))


def tables(found: list[Row]) -> str:
    """One for each client, under a line that says what they were run with."""
    where = f"Python {platform.python_version()} on {os.cpu_count()} cores"
    parts = [f"Run on {datetime.now(UTC):%Y-%m-%d} with seqserve {version('seqserve')}, {where}.\n"]
    for client, group in groupby(sorted(found, key=lambda row: row.client), key=lambda row: row.client):
        lines = [f"| {row.feature} | `{row.test}` | {row.result} |" for row in group]
        parts.append(
            "\n".join([f"### {client}\n", "| feature | test | result |", "|---|---|---|", *lines, ""])
        )
    return "\n".join(parts)


def main(report: str, document: str) -> None:
    """Put the tables where the document has its marks."""
    path, found = Path(document), rows(Path(report))
    text = path.read_text()
    if not found or not TABLES.search(text):
        sys.exit(f"no client in {report}, or no marks in {document}")
    path.write_text(TABLES.sub(lambda marks: f"{marks[1]}\n{tables(found)}\n{marks[2]}", text))


if __name__ == "__main__":
    main(*sys.argv[1:])
