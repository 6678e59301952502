"""The names of metrics in PromQL, and the expressions of our dashboard and rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from deploy.grafana.panel import filled
from seqserve.metrics.rows import HistogramRow
from seqserve.metrics.table import rows
from support.prometheus import DEPLOY, RULES

DASHBOARD = DEPLOY / "grafana" / "dashboards" / "seqserve.json"
ASIDE = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)|\boffset\s+\w+')
"""Of an expression what holds no name of a metric; strings first, since they may hold brackets."""
WORD = re.compile(r"[a-zA-Z_:][\w:]*(?!\w*\s*\()(?![\w:])")
OPERATORS = frozenset({"and", "or", "unless", "bool"})
PROMETHEUS_OWN = frozenset({"up", "ALERTS"})
TORCHSERVE = frozenset({
    "ts_inference_requests_total", "Requests2XX", "Requests4XX", "Requests5XX", "PredictionTime", "WorkerThreadTime",
    "WorkerLoadTime",
})  # fmt: skip
"""What TorchServe itself writes; a gateway in front of it hands it on."""
WINDOW = "30s"
"""For rates: the Prometheus of the tests scrapes each second."""


def names(expr: str) -> set[str]:
    """Of the metrics that an expression reads."""
    bare = ASIDE.sub("", re.sub(r'"[^"]*"', '""', expr))
    return {word for word in WORD.findall(bare) if word not in OPERATORS}


def served_names() -> set[str]:
    """Of all series that gateways serve."""
    found: set[str] = set()
    for row in rows():
        kinds = ("_bucket", "_sum", "_count") if isinstance(row, HistogramRow) else ("",)
        found |= {f"{row.name}{kind}" for kind in kinds}
    return found


def rules(kind: str) -> list[dict[str, Any]]:
    """What is in deploy/prometheus/rules. kind: record or alert."""
    documents = [yaml.safe_load(file.read_text()) for file in sorted(RULES.glob("*.yml"))]
    found = (rule for document in documents for group in document["groups"] for rule in group["rules"])
    return [rule for rule in found if kind in rule]


def panels() -> list[dict[str, Any]]:
    """Of the dashboard, without the rows."""
    document = json.loads(DASHBOARD.read_text())
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def dashboard_exprs() -> Iterator[tuple[str, str]]:
    """(title of the panel and letter, expression) with values for the variables, the annotation's last."""
    document = json.loads(DASHBOARD.read_text())
    for panel in panels():
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", filled(target["expr"], WINDOW)
    for annotation in document["annotations"]["list"]:
        yield annotation["name"], filled(annotation["expr"], WINDOW)


def promtool_tests() -> Iterator[tuple[Path, dict[str, Any]]]:
    """(file, one `alert_rule_test`) of all in deploy/prometheus/tests."""
    for file in sorted((DEPLOY / "prometheus" / "tests").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["tests"]:
            for test in group["alert_rule_test"]:
                yield file, test
