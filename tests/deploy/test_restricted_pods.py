"""Pods may do no more than they need."""

from __future__ import annotations

import pytest

from support.deployed import USER, environment_of, overlay, workloads
from support.manifests import OVERLAYS, RENDERED, containers_of, of_kind, only, pod_of

pytestmark = pytest.mark.deploy


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
