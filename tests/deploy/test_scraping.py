"""Every page of metrics is scraped, and nothing is open but what has to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqserve.settings import Settings
from support.deployed import environment_of, gateways_of, labels_of, overlay, selects, settings_of
from support.manifests import (
    OVERLAYS,
    Document,
    documents,
    kustomize,
    of_kind,
    only,
    pod_of,
    with_components,
)

pytestmark = pytest.mark.deploy

PROMETHEUS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}


def pages_of(name: str, folder: Path) -> dict[str, int]:
    """A container's name → the port on which its gateway serves /metrics."""
    found = gateways_of(only(overlay(name), "Deployment"))
    return {one["name"]: settings_of(one, f"kubernetes/overlays/{name}", folder).http_port for one in found}


def scraped(found: list[Document]) -> set[int]:
    """Ports of pods that the ServiceMonitor has scraped, by way of the one Service that it selects."""
    monitor = only(found, "ServiceMonitor")["spec"]
    [service] = [
        one
        for one in of_kind(found, "Service")
        if selects(monitor["selector"]["matchLabels"], one["metadata"]["labels"])
    ]
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "seqserve"  # the job that alerts look for
    assert all(one["path"] == "/metrics" for one in monitor["endpoints"])
    targets = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
    numbers = numbers_of(only(found, "Deployment"))
    return {numbers.get(target, target) for target in (targets[one["port"]] for one in monitor["endpoints"])}


def numbers_of(deployment: Document) -> dict[str, int]:
    """Ports of its containers by name."""
    ports = [port for container in gateways_of(deployment) for port in container["ports"]]
    return {port["name"]: port["containerPort"] for port in ports}


def let_in(found: list[Document], peer: Document) -> set[int]:
    """Ports of the gateways' pods that the policies open for a peer."""
    labels = labels_of(only(found, "Deployment"))
    return {
        port["port"]
        for policy in of_kind(found, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"].get("matchLabels", {}), labels)
        for rule in policy["spec"].get("ingress", [])
        if peer in rule["from"]
        for port in rule["ports"]
    }


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_port_that_serves_metrics_is_scraped_and_let_in(name: str, tmp_path: Path) -> None:
    found = overlay(name)
    pages = set(pages_of(name, tmp_path).values())
    assert len(pages) == len(gateways_of(only(found, "Deployment")))
    assert pages == scraped(found) == let_in(found, PROMETHEUS)
    assert pages <= set(numbers_of(only(found, "Deployment")).values())


@pytest.mark.parametrize("name", OVERLAYS)
def test_two_pages_of_a_pod_are_two_instances(name: str) -> None:
    endpoints = only(overlay(name), "ServiceMonitor")["spec"]["endpoints"]
    instances = [
        rule.get("replacement", "$1")
        for endpoint in endpoints
        for rule in endpoint["relabelings"]
        if rule["targetLabel"] == "instance"
    ]
    assert len(set(instances)) == len(endpoints)


@pytest.mark.parametrize("name", OVERLAYS)
def test_nothing_is_open_but_to_callers_and_prometheus(name: str) -> None:
    found = overlay(name)
    denied = only(found, "NetworkPolicy", "default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    policies = of_kind(found, "NetworkPolicy")
    assert all("egress" not in policy["spec"] for policy in policies)
    rules = [rule for policy in policies for rule in policy["spec"].get("ingress", [])]
    assert all(rule["from"] and rule["ports"] for rule in rules)  # an empty list is everybody
    peers = [peer for rule in rules for peer in rule["from"]]
    [caller] = [peer for peer in peers if peer != PROMETHEUS]
    assert caller == {"namespaceSelector": {"matchLabels": {"seqserve-caller": "true"}}}
    assert let_in(found, caller) == {Settings().grpc_port, Settings().http_port}


def test_traces_leave_for_the_collector_alone(tmp_path: Path) -> None:
    deploy = with_components(tmp_path)
    for name in OVERLAYS:
        found = documents(kustomize(deploy / "kubernetes" / "overlays" / name).stdout)
        gateway = pod_of(only(found, "Deployment"))["containers"][0]
        endpoint = environment_of(gateway)["SEQSERVE_OTLP_ENDPOINT"]
        rules = only(found, "NetworkPolicy", "tracing")["spec"]["egress"]
        ports = {(port["port"], port.get("protocol", "TCP")) for rule in rules for port in rule["ports"]}
        assert ports == {(53, "UDP"), (53, "TCP"), (int(endpoint.rsplit(":", 1)[1]), "TCP")}
        assert all(rule["to"] for rule in rules)
