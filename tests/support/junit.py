"""What pytest has run, read from the JUnit XML that it wrote."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

NAME = re.compile(r"(?P<name>test_\w+)(?:\[(?P<parameters>.*)\])?", re.DOTALL)
KINDS = ("failure", "error", "skipped")
WORDS = 120


class Case(NamedTuple):
    """One test. module: its file without `.py`. result: passed, or what came instead, with its first words.

    properties: what it has recorded with `record_property`.
    """

    module: str
    name: str
    parameters: str
    result: str
    properties: dict[str, str]

    @property
    def kind(self) -> str:
        """passed, failure, error or skipped."""
        return self.result.strip("*").partition("**")[0]


def cases(report: Path) -> list[Case]:
    """All of them, in the order in which they ran."""
    elements = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - pytest wrote it
    return [case for case in map(_case, elements) if case is not None]


def _case(element: ET.Element) -> Case | None:
    found = NAME.fullmatch(element.get("name", ""))
    if found is None:
        return None
    properties = {each.get("name", ""): each.get("value", "") for each in element.iter("property")}
    module = element.get("classname", "").rpartition(".")[2]
    return Case(module, found["name"], found["parameters"] or "", _result(element), properties)


def _result(element: ET.Element) -> str:
    for kind in KINDS:
        found = element.find(kind)
        if found is not None:
            return f"**{kind}**: {(found.get('message', '').splitlines() or [''])[0][:WORDS]}"
    return "passed"
