"""Writes the table of docs/reliability.md from what pytest has just run: `reliability.py REPORT DOCUMENT`.

REPORT: JUnit's XML. A test may record what it has `measured`. `reliability.py` alone prints the files to run.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from support.junit import Case, cases

TABLE = re.compile(r"(<!-- table: [^>]*-->\n).*?(<!-- end of table -->)", re.DOTALL)
TESTS = Path(__file__).parents[1]


class Promise(NamedTuple):
    """What is promised, in words, and the tests that try it: FOLDER/MODULE, or FOLDER/MODULE::START-OF-A-NAME."""

    words: str
    tests: tuple[str, ...]


PROMISES = (Promise("SIGTERM loses nothing that is in flight", ("reliability/test_endings::test_sigterm",)),)


def files() -> list[str]:
    """Of all promises, each once, as pytest takes them."""
    named = dict.fromkeys(test.partition("::")[0] for promise in PROMISES for test in promise.tests)
    return [f"tests/{name}.py" for name in named]


def table(found: Sequence[Case]) -> str:
    """A row for each test of each promise, under a line that says where and when."""
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    head = f"Run on {datetime.now(UTC):%Y-%m-%d} with seqserve {version('seqserve')}, {where}.\n"
    rows = [row for promise in PROMISES for row in _rows(promise, found)]
    return "\n".join([head, "| promise | test | result | measured |", "|---|---|---|---|", *rows, ""])


def _rows(promise: Promise, found: Sequence[Case]) -> list[str]:
    rows = []
    for at, test in enumerate(promise.tests):
        module, _, start = test.partition("::")
        mine = [case for case in found if case.module == Path(module).name and case.name.startswith(start)]
        cells = [promise.words if at == 0 else "", f"`{test}`", _result(mine), _measured(mine)]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _result(mine: Sequence[Case]) -> str:
    counts = Counter(case.kind for case in mine)
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "**not run**"


def _measured(mine: Sequence[Case]) -> str:
    parts = [
        f"{case.parameters}: {case.properties['measured']}"
        if case.parameters
        else case.properties["measured"]
        for case in mine
        if "measured" in case.properties
    ]
    return "; ".join(parts)


def main(report: str, document: str) -> None:
    """Put the table where the document has its marks."""
    path = Path(document)
    text, found = path.read_text(), cases(Path(report))
    if not TABLE.search(text):
        sys.exit(f"no marks in {document}")
    path.write_text(TABLE.sub(lambda marks: f"{marks[1]}\n{table(found)}\n{marks[2]}", text))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(*files())  # noqa: T201 - for make
    else:
        main(*sys.argv[1:])
