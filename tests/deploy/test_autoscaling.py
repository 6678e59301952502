"""The autoscalers' metrics exist, and Prometheus reads the query that makes one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from support.deployed import overlay
from support.manifests import DEPLOY, ROOT, needs, only, run

pytestmark = pytest.mark.deploy


def adapter_rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "kubernetes" / "adapter-rules.yaml").read_text())[
        "rules"
    ]
    return rules


def custom_metrics(name: str) -> set[str]:
    metrics = only(overlay(name), "HorizontalPodAutoscaler")["spec"]["metrics"]
    return {one["pods"]["metric"]["name"] for one in metrics if one["type"] == "Pods"}


def test_the_autoscalers_metric_is_made_from_one_that_is_served() -> None:
    [rule] = adapter_rules()
    assert (
        {rule["name"]["as"]} == custom_metrics("cpu") == custom_metrics("gpu") == custom_metrics("torchserve")
    )
    series = rule["seriesQuery"].split("{")[0]
    assert re.fullmatch(rule["name"]["matches"], series)
    assert f"### `{series.removesuffix('_sum')}`\n\nhistogram" in (ROOT / "docs" / "metrics.md").read_text()


def test_prometheus_reads_the_adapters_query(tmp_path: Path) -> None:
    needs("promtool")
    [rule] = adapter_rules()
    query = rule["metricsQuery"]
    filled = {
        "<<.Series>>": "seqserve_request_seconds_sum",
        "<<.LabelMatchers>>": 'pod=~"a|b"',
        "<<.GroupBy>>": "pod",
    }
    for place, value in filled.items():
        assert place in query
        query = query.replace(place, value)
    for expression, code in ((query, 0), (query.replace("rate(", "rat("), 1)):
        path = tmp_path / "rules.yml"
        path.write_text(
            yaml.safe_dump({"groups": [{"name": "one", "rules": [{"record": "a:b", "expr": expression}]}]})
        )
        assert run("promtool", "check", "rules", path).returncode == code
