"""Keeps the reports of soaks in a document, one for each front and engine."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from soak.report import Report


def check_marks(title: str, document: Path) -> None:
    """Raises ValueError where the document has no marks for a run of that title."""
    if not _marks(title).search(document.read_text()):
        raise ValueError(f"{document} has no marks for {title!r}")


def record(report: Report, document: Path) -> None:
    """Put a report between its marks. Raises ValueError where the document has none for it."""
    check_marks(report.title, document)
    lines = "\n".join(report.lines())
    shown = f"\nEnded on {datetime.now(UTC):%Y-%m-%d}:\n\n```text\n{lines}\n```\n\n"
    text = _marks(report.title).sub(lambda found: found[1] + shown + found[2], document.read_text())
    document.write_text(text)


def _marks(title: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- soak: {re.escape(title)} -->\n).*?(<!-- end of soak -->)", re.DOTALL)
