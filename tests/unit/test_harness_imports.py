"""The soak and the fuzzers stand on tests/support, which knows neither, and they do not know one another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def imported(file: Path) -> set[str]:
    """The first names of all that it imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    ("folder", "barred"), [("support", {"soak", "fuzz"}), ("soak", {"fuzz"}), ("fuzz", {"soak"})]
)
def test_imports_go_one_way(folder: str, barred: set[str]) -> None:
    files = list((TESTS / folder).rglob("*.py"))

    assert len(files) > 5
    assert {str(file): found for file in files if (found := imported(file) & barred)} == {}
