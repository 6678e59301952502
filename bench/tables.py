"""Tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(text: str, titles: Sequence[str], rows: Iterable[str]) -> str:
    """With its text before it; nothing where there are no rows."""
    lines = list(rows)
    return "\n".join([text, "", row(*titles), row(*["---"] * len(titles)), *lines]) if lines else ""


def row(*cells: object) -> str:
    """One line."""
    return f"| {' | '.join(map(str, cells))} |"
