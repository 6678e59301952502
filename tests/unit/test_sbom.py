"""The SBOM: every package of the lock and torch, for whom it is, and the same bytes each time."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from supply.pins import Pin, pin_of, read_pins
from supply.sbom import main, sbom, to_text

ROOT = Path(__file__).parents[2]
PROJECT = {
    "name": "mine",
    "version": "1",
    "description": "it",
    "license": "MIT",
    "dependencies": ["Base_One>=1"],
    "optional-dependencies": {"gpu": ["torch==2.*", "base-one"], "dev": ["tool[fast]<3", "absent"]},
}
PINS = {
    "base-one": Pin("base-one", "1.0", ("0" * 64,), frozenset({"mine (pyproject.toml)"})),
    "below": Pin("below", "1.0", ("1" * 64,), frozenset({"base-one", "tool"})),
    "math": Pin("math", "3", ("2" * 64,), frozenset({"torch"})),
    "tool": Pin("tool", "2", ("3" * 64,), frozenset({"mine (pyproject.toml)"})),
}
TORCH = pin_of("torch==2.13.0+cu130")


def extras(document: dict[str, Any]) -> dict[str, str]:
    return {found["name"]: found["properties"][0]["value"] for found in document["components"]}


def test_each_component_names_who_gets_it() -> None:
    assert extras(sbom(PROJECT, PINS, TORCH)) == {
        "base-one": "base",
        "below": "base",
        "math": "gpu",
        "tool": "dev",
        "torch": "gpu",
    }


def test_the_graph_leads_from_the_project_to_all() -> None:
    document = sbom(PROJECT, PINS, TORCH)

    assert {found["ref"]: found["dependsOn"] for found in document["dependencies"]} == {
        "pkg:pypi/mine@1": ["pkg:pypi/base-one@1.0", "pkg:pypi/tool@2", "pkg:pypi/torch@2.13.0%2Bcu130"],
        "pkg:pypi/base-one@1.0": ["pkg:pypi/below@1.0"],
        "pkg:pypi/below@1.0": [],
        "pkg:pypi/math@3": [],
        "pkg:pypi/tool@2": ["pkg:pypi/below@1.0"],
        "pkg:pypi/torch@2.13.0%2Bcu130": ["pkg:pypi/math@3"],
    }


def test_the_serial_number_is_made_of_the_rest() -> None:
    first, again = sbom(PROJECT, PINS, TORCH), sbom(PROJECT, PINS, TORCH)
    other = sbom(PROJECT, PINS, pin_of("torch==2.13.1"))

    assert to_text(first) == to_text(again)
    assert first["serialNumber"] != other["serialNumber"]


def test_ours_holds_the_whole_lock_and_torch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "dist" / "ours.json"
    locked = read_pins(ROOT / "requirements.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert main([str(output), "--torch", "torch==2.13.0"]) == 0

    document = json.loads(output.read_text())
    found = extras(document)
    versions = {one["name"]: one["version"] for one in document["components"]}
    assert versions == {**{pin.name: pin.version for pin in locked.values()}, "torch": "2.13.0"}
    assert found["torch"] == "build embedded torchserve"
    assert found["grpcio"] == found["cryptography"] == "base"
    known = {"base", *project["optional-dependencies"]}
    assert all(value and set(value.split()) <= known for value in found.values())
    assert str(len(found)) in capsys.readouterr().out
