"""The component `alerts` has the rules of deploy/prometheus, as the Prometheus operator takes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from deploy.kubernetes.prometheus_rule import RULE, RULES, text
from support.manifest_checkers import schema_faults
from support.manifests import OVERLAYS, documents, kustomize, needs, only, run, with_components, written

pytestmark = pytest.mark.deploy


def test_the_manifest_is_made_from_the_rules_as_they_are() -> None:
    assert RULE.read_text() == text(), "make alerts-manifest writes it"


def test_it_has_every_rule_of_every_file() -> None:
    named = [
        group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]
    ]
    [manifest] = documents(RULE.read_text())
    assert manifest["spec"] == {"groups": named}
    assert len({group["name"] for group in named}) == len(named)  # the operator takes no name twice


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_brings_it_and_promtool_reads_it(name: str, tmp_path: Path) -> None:
    needs("promtool")
    found = documents(kustomize(with_components(tmp_path) / "kubernetes" / "overlays" / name).stdout)
    rule = only(found, "PrometheusRule")
    assert rule["metadata"]["namespace"] == only(found, "Deployment")["metadata"]["namespace"]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(rule["spec"]))
    done = run("promtool", "check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{sum(len(group['rules']) for group in rule['spec']['groups'])} rules found" in done.stdout


@pytest.mark.parametrize(("field", "value"), [("form", "2m"), ("for", "two minutes")])
def test_its_schema_refuses_what_the_operator_would(field: str, value: str, tmp_path: Path) -> None:
    [manifest] = documents(RULE.read_text())
    manifest["spec"]["groups"][0]["rules"][0][field] = value
    code, said = schema_faults(written([manifest], tmp_path))
    assert code == 1
    assert value in said or field in said
