"""What deploy/ says of the gateway is so: settings, ports, metrics, times; and its parts fit each other."""

from __future__ import annotations

import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from seqserve import __version__
from seqserve.grpc_api.health_statuses import LIVENESS
from seqserve.settings import ENV_PREFIX, Settings
from seqserve.settings_reading import read_settings
from support.manifests import (
    DEPLOY,
    OVERLAYS,
    RENDERED,
    ROOT,
    Document,
    containers_of,
    documents,
    kustomize,
    of_kind,
    only,
    pod_of,
    rendered,
    run,
    with_components,
)

pytestmark = pytest.mark.deploy

HEALTH_PORT = 8002  # of the images
MARGIN_SECONDS = 10
USER = 10001
DOCKERFILE = ROOT / "Dockerfile"
TARGETS = {
    f"seqserve:{__version__}": "gateway",
    f"seqserve:{__version__}-slim": "gateway-slim",
    f"seqserve:{__version__}-torchserve": "torchserve",
    f"seqserve:{__version__}-build": "build",
}


def overlay(name: str) -> list[Document]:
    return rendered(f"kubernetes/overlays/{name}")


def workloads(name: str) -> list[Document]:
    found = rendered(name)
    return [*of_kind(found, "Deployment"), *of_kind(found, "ServingRuntime")]


def environment_of(container: Document) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container.get("env", [])}


def settings_of(container: Document, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As `seqserve serve` reads them there."""
    monkeypatch.setenv("SEQSERVE_HEALTH_PORT", str(HEALTH_PORT))
    for variable, value in environment_of(container).items():
        monkeypatch.setenv(variable, value)
    if "--config" not in container.get("args", []):
        return read_settings({})
    path = folder / "seqserve.toml"
    path.write_text(only(rendered(name), "ConfigMap")["data"]["seqserve.toml"])
    return read_settings({}, path)


def labels_of(deployment: Document) -> dict[str, str]:
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


def selects(selector: Document, labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


@pytest.mark.parametrize("name", RENDERED)
def test_every_variable_is_a_setting(name: str) -> None:
    for workload in workloads(name):
        for container in containers_of(workload):
            for variable in environment_of(container):
                assert variable.removeprefix(ENV_PREFIX).lower() in Settings.model_fields, variable


@pytest.mark.parametrize("name", RENDERED)
def test_the_settings_are_taken_and_leave_time_to_drain(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes before SIGTERM and the drain end before the kubelet kills the pod."""
    for workload in workloads(name):
        gateway = pod_of(workload)["containers"][0]
        settings = settings_of(gateway, name, tmp_path, monkeypatch)
        slept = gateway["lifecycle"]["preStop"]["sleep"]["seconds"]
        needed = slept + settings.drain_pause_seconds + settings.drain_grace_seconds + MARGIN_SECONDS
        source = pod_of(workload)
        if workload["kind"] == "ServingRuntime":
            source = only(rendered(name), "InferenceService", "digits")["spec"]["predictor"]
        assert source["terminationGracePeriodSeconds"] >= needed
        assert settings.drain_grace_seconds >= settings.default_timeout_seconds


@pytest.mark.parametrize("name", RENDERED)
def test_ports_and_probes_are_those_of_the_gateway(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for workload in workloads(name):
        gateway = pod_of(workload)["containers"][0]
        settings = settings_of(gateway, name, tmp_path, monkeypatch)
        served = {settings.grpc_port, settings.http_port, settings.health_port}
        assert {port["containerPort"] for port in gateway["ports"]} <= served
        assert settings.health_port == HEALTH_PORT
        for probe in ("startupProbe", "livenessProbe"):
            assert gateway[probe]["grpc"] == {"port": HEALTH_PORT, "service": LIVENESS}
        assert gateway["readinessProbe"]["grpc"] == {"port": HEALTH_PORT}


def test_the_ports_of_two_gateways_in_a_pod_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchserve, gateway = containers_of(only(overlay("torchserve"), "Deployment"))
    others = settings_of(torchserve, "", tmp_path, monkeypatch)
    used = {others.grpc_port, others.http_port, others.health_port, others.torchserve_grpc_port}
    assert used.isdisjoint(port["containerPort"] for port in gateway["ports"])
    for probe in ("startupProbe", "livenessProbe"):
        assert torchserve[probe]["grpc"]["port"] == others.health_port
    address = environment_of(gateway)["SEQSERVE_TORCHSERVE_ADDRESS"]
    assert address == f"127.0.0.1:{others.torchserve_grpc_port}"


def test_the_token_of_torchserve_is_shared() -> None:
    torchserve, gateway = containers_of(only(overlay("torchserve"), "Deployment"))
    token_file = Path(environment_of(gateway)["SEQSERVE_TORCHSERVE_TOKEN_FILE"])
    [(folder, name)] = [
        (mount["mountPath"], mount["name"])
        for mount in gateway["volumeMounts"]
        if token_file.is_relative_to(mount["mountPath"])
    ]
    assert {"name": name, "mountPath": folder} in torchserve["volumeMounts"]
    assert token_file.name == "key_file.json"
    if DOCKERFILE.exists():
        assert f"SEQSERVE_TORCHSERVE_FOLDER={token_file.parent}" in DOCKERFILE.read_text()


@pytest.mark.parametrize("name", RENDERED)
def test_images_are_those_of_this_version(name: str) -> None:
    for workload in workloads(name):
        for container in containers_of(workload):
            assert container["image"] in {*TARGETS, f"seqserve:{__version__}-cuda"}


def test_the_images_exist_and_are_set_up_as_the_manifests_think() -> None:
    if not DOCKERFILE.exists():
        pytest.skip("no Dockerfile")
    text = DOCKERFILE.read_text()
    assert set(TARGETS.values()) <= set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    assert f"SEQSERVE_HEALTH_PORT={HEALTH_PORT}" in text
    assert "SEQSERVE_MODEL_STORE=/models" in text
    assert f"USER {USER}:{USER}" in text
    entry = re.search(r"^ENTRYPOINT \[(.*)\]$", text, re.MULTILINE)
    assert entry
    assert entry[1].rstrip('"').endswith("seqserve")  # so the manifests give it arguments alone


@pytest.mark.parametrize("name", OVERLAYS)
def test_everything_selects_the_pods_that_it_means(name: str) -> None:
    found = overlay(name)
    deployment = only(found, "Deployment")
    labels = labels_of(deployment)
    assert deployment["spec"]["selector"]["matchLabels"] == labels_without_part(labels)
    for service in of_kind(found, "Service"):
        assert selects(service["spec"]["selector"], labels)
        names = {port["name"] for port in containers_of(deployment)[-1]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    assert selects(only(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels)
    assert selects(only(found, "NetworkPolicy", "gateway")["spec"]["podSelector"]["matchLabels"], labels)
    for spread in pod_of(deployment)["topologySpreadConstraints"]:
        assert selects(spread["labelSelector"]["matchLabels"], labels)
    target = only(found, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])


def labels_without_part(labels: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if not key.endswith("/part-of")}


@pytest.mark.parametrize("name", OVERLAYS)
def test_grpc_has_a_name_for_every_pod_and_http_has_an_address(name: str) -> None:
    found = overlay(name)
    headless = only(found, "Service", "seqserve-grpc")["spec"]
    assert headless["clusterIP"] == "None"
    assert [port["port"] for port in headless["ports"]] == [Settings().grpc_port]
    ordinary = only(found, "Service")["spec"]
    assert "clusterIP" not in ordinary
    assert [port["port"] for port in ordinary["ports"]] == [Settings().http_port]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_monitor_finds_one_port_of_one_service(name: str) -> None:
    found = overlay(name)
    monitor = only(found, "ServiceMonitor")["spec"]
    [service] = [
        one
        for one in of_kind(found, "Service")
        if selects(monitor["selector"]["matchLabels"], one["metadata"]["labels"])
    ]
    [endpoint] = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "seqserve"  # the job that alerts look for


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_drain_of_a_node_leaves_a_gateway(name: str) -> None:
    found = overlay(name)
    scaled = only(found, "HorizontalPodAutoscaler")["spec"]
    assert only(found, "PodDisruptionBudget")["spec"]["maxUnavailable"] < scaled["minReplicas"]
    assert scaled["minReplicas"] <= scaled["maxReplicas"]
    deployment = only(found, "Deployment")["spec"]
    assert "replicas" not in deployment  # an apply would undo what the autoscaler has decided
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("name", OVERLAYS)
def test_nothing_is_open_but_to_callers_and_prometheus(name: str) -> None:
    found = overlay(name)
    denied = only(found, "NetworkPolicy", "default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    opened: dict[int, int] = {}
    for policy in of_kind(found, "NetworkPolicy"):
        assert "egress" not in policy["spec"]
        for rule in policy["spec"].get("ingress", []):
            assert rule["from"]
            assert all("namespaceSelector" in peer for peer in rule["from"])
            for port in rule["ports"]:
                opened[port["port"]] = opened.get(port["port"], 0) + 1
    assert opened == {Settings().grpc_port: 1, Settings().http_port: 2}


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


@pytest.mark.parametrize("name", RENDERED)
def test_pods_are_restricted(name: str) -> None:
    """What Pod Security's level *restricted* asks for, container by container."""
    for workload in workloads(name):
        pod = pod_of(workload)
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            assert key not in pod
        for volume in pod.get("volumes", []):
            assert volume.keys() & {"configMap", "emptyDir", "persistentVolumeClaim"}
        for container in containers_of(workload):
            holds = {**pod.get("securityContext", {}), **container["securityContext"]}
            assert holds["runAsNonRoot"] is True
            assert (holds["runAsUser"], holds["runAsGroup"]) == (USER, USER)
            assert holds["seccompProfile"] == {"type": "RuntimeDefault"}
            assert holds["allowPrivilegeEscalation"] is False
            assert holds["readOnlyRootFilesystem"] is True
            assert holds["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"].keys() == {"requests", "limits"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_takes_restricted_pods_alone(name: str) -> None:
    found = overlay(name)
    [namespace] = of_kind(found, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {one["metadata"].get("namespace") for one in found if one["kind"] != "Namespace"} == {
        namespace["metadata"]["name"]
    }


@pytest.mark.parametrize("name", RENDERED)
def test_serving_reads_models_and_writes_what_is_bounded(name: str) -> None:
    for workload in workloads(name):
        volumes = {volume["name"]: volume for volume in pod_of(workload)["volumes"]}
        for container in containers_of(workload):
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            assert "/tmp" in mounts  # noqa: S108 - the root is read-only
            for path, mount in mounts.items():
                written = volumes[mount["name"]].get("emptyDir")
                assert mount.get("readOnly") is True or written["sizeLimit"], path


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_pod_has_a_token_of_the_cluster(name: str) -> None:
    found = overlay(name)
    assert only(found, "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod_of(only(found, "Deployment"))["automountServiceAccountToken"] is False


def test_a_gpu_is_asked_for_and_used() -> None:
    [gateway] = containers_of(only(overlay("gpu"), "Deployment"))
    assert gateway["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert environment_of(gateway)["SEQSERVE_DEVICE"] == "cuda"


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
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: Debian's package prometheus has it")
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


def test_another_configuration_rolls_the_pods(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    names = []
    for _ in range(2):
        found = documents(kustomize(tmp_path / "deploy/kubernetes/overlays/cpu").stdout)
        name = only(found, "ConfigMap")["metadata"]["name"]
        volumes = pod_of(only(found, "Deployment"))["volumes"]
        assert {"name": name} in [volume.get("configMap") for volume in volumes]
        names.append(name)
        path = tmp_path / "deploy/kubernetes/base/seqserve.toml"
        path.write_text(path.read_text() + 'log_level = "debug"\n')
    assert all(one != other for one, other in pairwise(names))


def test_kserve_finds_the_runtime() -> None:
    found = rendered("kserve")
    runtime, service = (
        only(found, "ServingRuntime")["spec"],
        only(found, "InferenceService", "digits")["spec"],
    )
    model = service["predictor"]["model"]
    assert model["runtime"] == "seqserve"
    assert model["protocolVersion"] in runtime["protocolVersions"]
    assert model["modelFormat"]["name"] in {one["name"] for one in runtime["supportedModelFormats"]}
    claim = model["storageUri"].removeprefix("pvc://")
    assert only(found, "PersistentVolumeClaim", claim)
    [container] = runtime["containers"]
    assert container["name"] == "kserve-container"
    assert environment_of(container)["SEQSERVE_MODEL_STORE"] == "/mnt/models"
    assert container["ports"][0]["name"] == "h2c"  # by which KServe knows HTTP/2
