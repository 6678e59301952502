"""Keeps what the latest run of each target came to in a document: a row for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HEAD = "| target | executions | edges | finds | ended on |\n|---|---|---|---|---|"
_BLOCK = re.compile(r"(<!-- fuzz: [^>]*-->\n).*?(<!-- end of fuzz -->)", re.DOTALL)
_ROW = re.compile(r"^\| `(\w+)` \|.*\|$", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """What became of one target.

    line: for a terminal. finds: how many faults. executions, edges: in words, for the document; of a target
    that was left out there are no executions, and its row stays as it was.
    """

    name: str
    line: str
    finds: int
    executions: str = ""
    edges: str = ""

    def row(self) -> str:
        """For the document."""
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        return f"| `{self.name}` | {self.executions} | {self.edges} | {self.finds} | {today} |"


def check_marks(document: Path) -> None:
    """Raises ValueError where the document has no marks for the table."""
    if not _BLOCK.search(document.read_text()):
        raise ValueError(f"{document} has no marks for fuzzing")


def record(found: Sequence[Found], document: Path, order: Sequence[str]) -> None:
    """Put the rows between the marks; those of targets that were not run stay. order: of all names."""
    check_marks(document)
    text = document.read_text()
    block = _BLOCK.search(text)
    rows = {row[1]: row[0] for row in _ROW.finditer(block[0] if block else "")}
    rows |= {each.name: each.row() for each in found if each.executions}
    table = "\n".join([HEAD, *(rows[name] for name in order if name in rows)])
    document.write_text(_BLOCK.sub(lambda marks: f"{marks[1]}\n{table}\n\n{marks[2]}", text))
