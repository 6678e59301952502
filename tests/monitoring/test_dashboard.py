"""The dashboard's file: what Grafana would not forgive, and what its readers would miss."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from deploy.grafana import dashboard as written
from deploy.grafana.panels import SECTIONS
from support.prometheus import DEPLOY
from support.promql import (
    DASHBOARD,
    PROMETHEUS_OWN,
    TORCHSERVE,
    dashboard_exprs,
    names,
    panels,
    rules,
    served_names,
)

DOCUMENT = json.loads(DASHBOARD.read_text())
UNITS = {"short", "reqps", "ops", "cps", "percentunit", "s", "ms", "bytes"}
"""Of Grafana's, those that are used."""


def test_the_file_is_what_the_panels_make_of_it() -> None:
    assert DASHBOARD.read_text() == written.text(), "run `make dashboard`"


def test_numbers_are_unique_and_letters_are_within_a_panel() -> None:
    numbers = [panel["id"] for panel in DOCUMENT["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in panels():
        letters = [target["refId"] for target in panel["targets"]]
        assert letters
        assert len(set(letters)) == len(letters)


def test_nothing_overlaps_or_sticks_out() -> None:
    places = [panel["gridPos"] for panel in DOCUMENT["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_above, (one, other)


def test_each_section_follows_its_row() -> None:
    found: dict[str, list[str]] = {}
    for panel in DOCUMENT["panels"]:
        if panel["type"] == "row":
            found[panel["title"]] = []
        else:
            found[list(found)[-1]].append(panel["title"])
    assert found == {heading: [panel.title for panel in section] for heading, section in SECTIONS.items()}


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_each_panel_says_its_unit_and_what_to_look_for(panel: dict[str, object]) -> None:
    defaults = panel["fieldConfig"]["defaults"]  # type: ignore[index]
    assert defaults["unit"] in UNITS
    assert re.search(r"\w.*\.$", str(panel["description"]), re.DOTALL)
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_variables_are_those_that_the_queries_use() -> None:
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([DOCUMENT["panels"], DOCUMENT["annotations"]])))
    assert used - {"__rate_interval"} == {variable["name"] for variable in DOCUMENT["templating"]["list"]}


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ('sum by (le, model) (rate(a_bucket{x="b(c)"}[5m])) / on (z) d:e or 2 * f offset 15m', {"a_bucket", "d:e", "f"}),
        ("(a{b} unless a{b} offset 15m) > 0 and time() - c < 1e3", {"a", "c"}),
        ("max without (model) (a:b >= 0) or vector(0)", {"a:b"}),
    ],
)  # fmt: skip
def test_names_are_found_in_expressions(expr: str, expected: set[str]) -> None:
    assert names(expr) - {"e3"} == expected


def test_only_series_are_asked_for_that_there_are() -> None:
    recorded = {rule["record"] for rule in rules("record")}
    ours = served_names() | recorded | PROMETHEUS_OWN
    for title, expr in dashboard_exprs():
        assert names(expr), title
        assert names(expr) <= ours | TORCHSERVE, title
    for rule in (*rules("record"), *rules("alert")):
        assert names(rule["expr"]) <= ours, rule


def test_each_section_of_the_metrics_page_is_shown() -> None:
    shown = set().union(*(names(expr) for _, expr in dashboard_exprs()))
    recorded = {rule["record"]: names(rule["expr"]) for rule in rules("record")}
    for _ in range(3):  # rules read rules
        shown |= set().union(*(recorded.get(name, set()) for name in shown))
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    left_out = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served_names()} - bare
    assert left_out == {
        "process_virtual_memory_bytes", "python_gc_objects_collected_total", "python_gc_objects_uncollectable_total",
    }  # fmt: skip


def test_provisioning_names_the_folder_and_the_data_source() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    [provider] = yaml.safe_load((provisioning / "dashboards" / "seqserve.yml").read_text())["providers"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert Path(provider["options"]["path"]).is_absolute()
