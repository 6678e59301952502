"""Services, budgets, policies and autoscalers mean the pods that they should."""

from __future__ import annotations

import pytest

from seqserve.settings import Settings
from support.deployed import labels_of, overlay, selects
from support.manifests import OVERLAYS, containers_of, of_kind, only, pod_of

pytestmark = pytest.mark.deploy


@pytest.mark.parametrize("name", OVERLAYS)
def test_everything_selects_the_pods_that_it_means(name: str) -> None:
    found = overlay(name)
    deployment = only(found, "Deployment")
    labels = labels_of(deployment)
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    for service in of_kind(found, "Service"):
        assert selects(service["spec"]["selector"], labels)
        ports = [port for container in containers_of(deployment) for port in container["ports"]]
        reached = {port["name"] for port in ports} | {port["containerPort"] for port in ports}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= reached
    assert selects(only(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels)
    for policy in of_kind(found, "NetworkPolicy"):
        assert selects(policy["spec"]["podSelector"].get("matchLabels", {}), labels)
    for spread in pod_of(deployment)["topologySpreadConstraints"]:
        assert selects(spread["labelSelector"]["matchLabels"], labels)
    target = only(found, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_grpc_has_a_name_for_every_pod_and_http_has_an_address(name: str) -> None:
    found = overlay(name)
    headless = only(found, "Service", "seqserve-grpc")["spec"]
    assert headless["clusterIP"] == "None"
    assert [port["port"] for port in headless["ports"]] == [Settings().grpc_port]
    ordinary = only(found, "Service")["spec"]
    assert "clusterIP" not in ordinary
    assert Settings().http_port in [port["port"] for port in ordinary["ports"]]
