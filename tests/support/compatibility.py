"""Writes the tables of docs/compatibility.md from what pytest has just run: `compatibility.py REPORT DOCUMENT`.

REPORT: JUnit's XML. A test is a row where it has recorded a `client`; `measured` stands for its result.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

TABLES = re.compile(r"(<!-- tables: [^>]*-->\n).*?(<!-- end of tables -->)", re.DOTALL)
CASE = re.compile(r"test_(?P<name>\w+)(?:\[(?P<parameters>.*)\])?")


class Row(NamedTuple):
    """One test of one client."""

    client: str
    feature: str
    test: str
    result: str


def rows(report: Path) -> list[Row]:
    """Those of all tests that name a client, in the order in which they ran."""
    cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - pytest wrote it
    return [row for row in map(_row, cases) if row is not None]


def _row(case: ET.Element) -> Row | None:
    properties = {each.get("name"): each.get("value", "") for each in case.iter("property")}
    found = CASE.fullmatch(case.get("name", ""))
    if "client" not in properties or found is None:
        return None
    file = case.get("classname", "").rpartition(".")[2]
    known = re.split(r"[ ,]+|(?<=tritonclient)\.", properties["client"])
    return Row(
        properties["client"],
        _feature(
            found["name"], [each for each in (found["parameters"] or "").split("-") if each not in known]
        ),
        f"{file}.py",
        properties.get("measured") or _result(case),
    )


def _feature(name: str, parameters: Sequence[str]) -> str:
    """The test's name in words, with what tells its rows apart."""
    return ": ".join(filter(None, [name.replace("_", " "), ", ".join(parameters)]))


def _result(case: ET.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        found = case.find(kind)
        if found is not None:
            return f"**{kind}**: {found.get('message', '').splitlines()[0][:120]}"
    return "passed"


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
