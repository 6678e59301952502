"""Text that others chose, archives and file names among it, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The same, with `?` for each character that a terminal would obey instead of showing it."""
    return "".join(character if character.isprintable() else "?" for character in text)
