"""Keeps the reports of soaks in a document, one for each front and engine."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from soak.report import Report


def record(report: Report, document: Path) -> None:
    """Put a report between its marks. Raises ValueError where the document has none for it."""
    marks = re.compile(rf"(<!-- soak: {re.escape(report.title)} -->\n).*?(<!-- end of soak -->)", re.DOTALL)
    text = document.read_text()
    if not marks.search(text):
        raise ValueError(f"{document} has no marks for {report.title!r}")
    lines = "\n".join(report.lines())
    shown = f"\nEnded on {datetime.now(UTC):%Y-%m-%d}:\n\n```text\n{lines}\n```\n\n"
    document.write_text(marks.sub(lambda found: found[1] + shown + found[2], text))
