"""What the manifests set is what a gateway reads: variables, ports, probes, images, TorchServe's token."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seqserve.grpc_api.health_statuses import LIVENESS
from seqserve.settings import ENV_PREFIX, Settings
from support.deployed import HEALTH_PORT, environment_of, gateways_of, overlay, settings_of, workloads
from support.manifests import RENDERED, ROOT, Document, containers_of, only, pod_of

DOCKERFILE = ROOT / "Dockerfile"

pytestmark = pytest.mark.deploy


@pytest.mark.parametrize("name", RENDERED)
def test_every_variable_is_a_setting(name: str) -> None:
    for workload in workloads(name):
        for container in containers_of(workload):
            for variable in environment_of(container):
                assert variable.removeprefix(ENV_PREFIX).lower() in Settings.model_fields, variable


@pytest.mark.parametrize("name", RENDERED)
def test_ports_and_probes_are_those_of_the_gateway(name: str, tmp_path: Path) -> None:
    for workload in workloads(name):
        gateway = pod_of(workload)["containers"][0]
        settings = settings_of(gateway, name, tmp_path)
        served = {settings.grpc_port, settings.http_port, settings.health_port}
        assert {port["containerPort"] for port in gateway["ports"]} <= served
        assert settings.health_port == HEALTH_PORT
        for probe in ("startupProbe", "livenessProbe"):
            assert gateway[probe]["grpc"] == {"port": HEALTH_PORT, "service": LIVENESS}
        assert gateway["readinessProbe"]["grpc"] == {"port": HEALTH_PORT}


def test_the_ports_of_two_gateways_in_a_pod_differ(tmp_path: Path) -> None:
    gateway, torchserve = gateways_of(only(overlay("torchserve"), "Deployment"))
    others = settings_of(torchserve, "", tmp_path)
    used = {others.grpc_port, others.http_port, others.health_port, others.torchserve_grpc_port}
    assert used.isdisjoint(port["containerPort"] for port in gateway["ports"])
    for probe in ("startupProbe", "livenessProbe"):
        assert torchserve[probe]["grpc"]["port"] == others.health_port
    address = environment_of(gateway)["SEQSERVE_TORCHSERVE_ADDRESS"]
    assert address == f"127.0.0.1:{others.torchserve_grpc_port}"


def test_the_token_of_torchserve_is_shared() -> None:
    gateway, torchserve = gateways_of(only(overlay("torchserve"), "Deployment"))
    token_file = Path(environment_of(gateway)["SEQSERVE_TORCHSERVE_TOKEN_FILE"])
    [(folder, name)] = [
        (mount["mountPath"], mount["name"])
        for mount in gateway["volumeMounts"]
        if token_file.is_relative_to(mount["mountPath"])
    ]
    assert {"name": name, "mountPath": folder} in torchserve["volumeMounts"]
    assert token_file in tokens_of(torchserve)


def tokens_of(keeper: Document) -> set[Path]:
    """Files with a token for inference that a TorchServe's keeper writes, by the image's and its own variables."""
    variables = dict(re.findall(r"^(?:ENV)? +(SEQSERVE_\w+)=(\S+)", DOCKERFILE.read_text(), re.MULTILINE))
    variables |= environment_of(keeper)
    folder = Path(variables["SEQSERVE_TORCHSERVE_FOLDER"])
    shared = variables.get("SEQSERVE_TORCHSERVE_SHARE_TOKEN")
    return {folder / "key_file.json", *([Path(shared)] if shared else [])}
