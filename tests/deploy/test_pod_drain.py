"""A pod has time to end, and a drain of a node leaves others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seqserve import gateway, otlp
from seqserve.engines.torchserve import server
from seqserve.grpc_api import health_port
from seqserve.http_api import listener
from seqserve.settings import Settings
from support.deployed import gateways_of, overlay, settings_of, workloads
from support.manifests import OVERLAYS, RENDERED, ROOT, Document, only, pod_of, rendered

pytestmark = pytest.mark.deploy

MARGIN_SECONDS = 10
FRONT = ROOT / "service" / "seqserve" / "native_front" / "front.py"
NATIVE_SECONDS = float(re.findall(r"^STOP_SECONDS = (\S+)", FRONT.read_text(), re.MULTILINE)[0])
"""Read, not imported: that takes the front's own library."""
CLOSE_SECONDS = (
    gateway.UNLOAD_SECONDS
    + NATIVE_SECONDS
    + listener.CLOSE_SECONDS
    + health_port.STOP_SECONDS
    + 2 * otlp.SHUTDOWN_SECONDS  # as with the component `tracing`
)
"""What a drain takes at most after its grace period."""


def grace_seconds_of(name: str, workload: Document) -> float:
    """What the kubelet leaves a pod."""
    pod = pod_of(workload)
    if workload["kind"] == "ServingRuntime":
        pod = only(rendered(name), "InferenceService", "digits")["spec"]["predictor"]
    seconds: float = pod["terminationGracePeriodSeconds"]
    return seconds


def drain_seconds(settings: Settings) -> float:
    """What a gateway takes from SIGTERM to its end, at most."""
    seconds = settings.drain_pause_seconds + settings.drain_grace_seconds + CLOSE_SECONDS
    return seconds + (server.GRACE_SECONDS if is_keeper(settings) else 0)


def is_keeper(settings: Settings) -> bool:
    """Whether it runs a TorchServe of its own, which it ends after its drain."""
    return settings.engine == "torchserve" and not settings.torchserve_address


@pytest.mark.parametrize("name", RENDERED)
def test_the_kubelet_waits_until_all_gateways_of_a_pod_have_ended(name: str, tmp_path: Path) -> None:
    """preStop, the gateway's drain, and then a sidecar's: the kubelet ends it after the gateway."""
    for workload in workloads(name):
        gateways = gateways_of(workload)
        slept = gateways[0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        drained = sum(drain_seconds(settings_of(one, name, tmp_path)) for one in gateways)
        assert grace_seconds_of(name, workload) >= slept + drained + MARGIN_SECONDS


@pytest.mark.parametrize("name", RENDERED)
def test_who_set_no_deadline_gets_an_answer(name: str, tmp_path: Path) -> None:
    for workload in workloads(name):
        settings = settings_of(gateways_of(workload)[0], name, tmp_path)
        assert settings.drain_grace_seconds >= settings.default_timeout_seconds


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_drain_of_a_node_leaves_a_gateway(name: str) -> None:
    found = overlay(name)
    scaled = only(found, "HorizontalPodAutoscaler")["spec"]
    assert only(found, "PodDisruptionBudget")["spec"]["maxUnavailable"] < scaled["minReplicas"]
    assert scaled["minReplicas"] <= scaled["maxReplicas"]
    deployment = only(found, "Deployment")["spec"]
    assert "replicas" not in deployment  # an apply would undo what the autoscaler has decided
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
