"""Rules and alerts as promtool sees them, and that each alert has what its readers need."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from support.prometheus import DEPLOY, RULES, needs_prometheus
from support.promql import promtool_tests, rules

PROMETHEUS = DEPLOY / "prometheus"
PAGE = DEPLOY.parent / "docs" / "monitoring.md"
TESTS = [
    pytest.param(file, id=file.stem, marks=[pytest.mark.long] if file.stem == "days" else [])
    for file in sorted((PROMETHEUS / "tests").glob("*.yml"))
]
ALERTS = rules("alert")


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_the_configuration_and_the_rules_are_sound() -> None:
    assert "2 rule files found" in promtool("check", "config", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES.glob("*.yml"))


def test_each_gateway_of_the_compose_file_is_a_target_by_its_name() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    gateways = {
        f"{name}:8000"
        for name, service in services.items()
        if "healthcheck" in service and "seqserve:" in service["image"]
    }
    [job] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    [found] = job["static_configs"]
    assert set(found["targets"]) == gateways
    assert len(gateways) == 3


@needs_prometheus
@pytest.mark.parametrize("file", TESTS)
def test_alerts_fire_when_they_should_and_else_not(file: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", file)


@needs_prometheus
def test_a_test_that_expects_another_alert_fails(tmp_path: Path) -> None:
    text = (PROMETHEUS / "tests" / "torchserve.yml").read_text().replace("../rules", str(RULES))
    changed = tmp_path / "changed.yml"
    changed.write_text(text.replace("what: missing", "what: workers"))
    done = subprocess.run(["promtool", "test", "rules", changed], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "SeqserveTorchServeDrift" in done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_is_tested_firing_and_silent(alert: dict[str, Any]) -> None:
    expected = [
        bool(test["exp_alerts"]) for _, test in promtool_tests() if test["alertname"] == alert["alert"]
    ]
    assert set(expected) == {True, False}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_says_how_urgent_it_is_what_it_means_and_what_to_do(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    assert name.startswith("Seqserve")
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == f"docs/monitoring.md#{name.lower()}"
    assert re.search(rf"^### {name}$", PAGE.read_text(), re.MULTILINE), "the page has no such heading"


def test_the_page_has_no_runbook_for_what_is_no_alert() -> None:
    headings = re.findall(r"^### (Seqserve\w+)$", PAGE.read_text(), re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]
