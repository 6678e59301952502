"""SECURITY.md names no test that is not there, and leaves no threat without one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "SECURITY.md"
TEXT = DOCUMENT.read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROW = re.compile(
    r"^\| (?!threat |\*\*)(?P<threat>[^|]+) \| (?P<defence>[^|]+) \| (?P<tests>[^|]+) \|$", re.MULTILINE
)
SUBJECT = re.compile(r"^\| \*\*(.+)\*\* \| \| \|$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
TARGET = re.compile(r"`make ([a-z-]+)")
TABLE = TEXT.partition("## Threats, defences, tests")[2].partition("\n## ")[0]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_table_is_about_all_there_is_to_defend() -> None:
    assert SUBJECT.findall(TABLE) == ["Artefacts", "Transport", "Authorization", "Input", "Supply chain"]
    lines = [line for line in TABLE.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(SUBJECT.findall(TABLE)) + len(ROW.findall(TABLE))


@pytest.mark.parametrize("row", list(ROW.finditer(TABLE)), ids=lambda row: row["threat"])
def test_each_threat_has_tests_and_nothing_else_in_its_last_column(row: re.Match[str]) -> None:
    assert NAMED.findall(row["tests"])
    assert re.sub(NAMED, "", row["tests"]).strip(", ") == ""


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED.findall(TEXT)}))
def test_each_test_is_there(path: str) -> None:
    named = {function for found, function in NAMED.findall(TEXT) if found == path}

    assert named <= functions(ROOT / path)


def test_links_lead_to_files_of_ours() -> None:
    links = LINK.findall(TEXT)

    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_make_knows_the_targets() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"audit", "sbom", "provenance"} <= set(TARGET.findall(TEXT)) <= known
