"""KServe finds the runtime and what it needs of it, and its pods pass what the others' pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.deployed import environment_of
from support.manifest_checkers import CUSTOM, PINNED, VERSIONS, WITHOUT_DIGEST, checkov, ids, validated
from support.manifests import Document, only, pod_of, rendered, written

pytestmark = pytest.mark.deploy

WITHOUT_POLICY = "CKV2_K8S_6"
"""Of checkov: pods that no NetworkPolicy selects. Which proxies reach them depends on how KServe was installed."""
KSERVES_OWN = ("annotations", "protocolVersions", "supportedModelFormats")
"""What of a runtime's spec is not a pod's."""
POD_WORDS = {
    "automountServiceAccountToken", "enableServiceLinks", "nodeSelector", "securityContext",
    "terminationGracePeriodSeconds",
}  # fmt: skip
"""What of the predictor is a pod's."""


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


def kserve_as_a_deployment() -> Document:
    """The pods that KServe makes, as a kind that checkov knows: the runtime's spec with the predictor's words in it."""
    found = rendered("kserve")
    runtime, service = only(found, "ServingRuntime"), only(found, "InferenceService", "digits")
    pod = dict(pod_of(runtime))
    for word in KSERVES_OWN:
        pod.pop(word)
    given = {word: value for word, value in service["spec"]["predictor"].items() if word in POD_WORDS}
    labels = {"matchLabels": {"app": "isvc.digits-predictor"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "digits-predictor", "namespace": service["metadata"]["namespace"]},
        "spec": {
            "selector": labels,
            "template": {"metadata": {"labels": labels["matchLabels"]}, "spec": {**pod, **given}},
        },
    }


@pytest.mark.parametrize("with_digest", [False, True])
def test_kserves_pods_fail_no_rule_but_those_of_the_network_and_the_digest(
    *, with_digest: bool, tmp_path: Path
) -> None:
    """It knows no custom resources: checkov sees their pods as a Deployment's; the others as they are."""
    others = [one for one in rendered("kserve") if one["kind"] not in CUSTOM]
    deployment = kserve_as_a_deployment()
    if with_digest:
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = PINNED
    path = written([*others, deployment], tmp_path)
    assert validated(path, VERSIONS[-1])[0] == 0
    results = checkov(path, "kubernetes")
    pods = "seqserve-kserve.digits-predictor"
    expected = {f"{WITHOUT_POLICY} Pod.{pods}.app-isvc.digits-predictor"}
    if not with_digest:
        expected.add(f"{WITHOUT_DIGEST} Deployment.{pods}")
    assert ids(results["failed_checks"]) == expected
    assert len(results["passed_checks"]) > 30
