"""Checkers that others wrote find nothing in deploy/, and each of them finds a fault that is put there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.manifest_checkers import (
    CUSTOM,
    PINNED,
    VERSIONS,
    WITHOUT_DIGEST,
    checkov,
    ids,
    schema_faults,
    validated,
)
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
    program,
    rendered,
    run,
    with_components,
    written,
)

pytestmark = pytest.mark.deploy

DOCKERFILE = ROOT / "Dockerfile"


@pytest.mark.parametrize("name", RENDERED)
def test_kubernetes_takes_every_field_in_every_version(name: str, tmp_path: Path) -> None:
    found = rendered(name)
    code, said = validated(written(found, tmp_path), *VERSIONS)
    own = [one for one in found if one["kind"] not in CUSTOM]
    assert code == 0, said
    assert len(re.findall(r" passed for resource ", said)) == len(own) * len(VERSIONS)
    assert set(re.findall(r"schema for kind (\w+)", said)) == {one["kind"] for one in found} & CUSTOM


@pytest.mark.parametrize("name", RENDERED)
def test_custom_resources_fit_the_schemas_of_their_projects(name: str, tmp_path: Path) -> None:
    found = rendered(name)
    code, said = schema_faults(written(found, tmp_path))
    assert code == 0, said
    assert sorted(said.splitlines()) == sorted(
        f"{one['kind']}/{one['metadata']['name']}: fits" for one in found if one["kind"] in CUSTOM
    )


def test_components_are_taken_as_well(tmp_path: Path) -> None:
    deploy = with_components(tmp_path)
    for name in OVERLAYS:
        done = kustomize(deploy / "kubernetes" / "overlays" / name)
        assert done.returncode == 0, done.stderr
        found = documents(done.stdout)
        assert {"seqserve-demo-models"} == {one["metadata"]["name"] for one in of_kind(found, "Job")}
        assert only(found, "NetworkPolicy", "tracing")
        path = written(found, tmp_path)
        for code, said in (validated(path, *VERSIONS), schema_faults(path)):
            assert code == 0, said
        assert "PrometheusRule/seqserve: fits" in said


def test_checkov_finds_nothing(tmp_path: Path) -> None:
    """In base, components and overlays, with every component on; one rule is passed over, where a reason stands."""
    kustomize(DEPLOY / "kserve")  # skips without kubectl, by which checkov renders
    results = checkov(with_components(tmp_path) / "kubernetes", "kustomize")
    assert not results["failed_checks"], ids(results["failed_checks"])
    assert not results["parsing_errors"]
    assert {one["check_id"] for one in results["skipped_checks"]} == {WITHOUT_DIGEST}
    assert all(one["check_result"]["suppress_comment"].strip() for one in results["skipped_checks"])
    workloads = {
        one["resource"].split(".")[-1] for one in results["passed_checks"] if ".seqserve" in one["resource"]
    }
    assert {"seqserve", "seqserve-demo-models"} <= workloads
    assert len({one["check_id"] for one in results["passed_checks"]}) > 30


@pytest.mark.parametrize("name", OVERLAYS)
def test_with_a_digest_no_rule_is_passed_over(name: str, tmp_path: Path) -> None:
    found = rendered(f"kubernetes/overlays/{name}")
    for workload in of_kind(found, "Deployment"):
        del workload["metadata"]["annotations"]
        for container in containers_of(workload):
            container["image"] = PINNED
    results = checkov(written(found, tmp_path), "kubernetes")
    assert not results["failed_checks"], ids(results["failed_checks"])
    assert not results["skipped_checks"]


def test_the_dockerfile_is_clean(tmp_path: Path) -> None:
    if not DOCKERFILE.exists():
        pytest.skip("no Dockerfile")
    linted = run(program("hadolint"), "--no-color", DOCKERFILE)
    assert linted.returncode == 0, linted.stdout
    results = checkov(resolved(DOCKERFILE, tmp_path), "dockerfile")
    assert not results["failed_checks"], ids(results["failed_checks"])
    assert results["passed_checks"]


def resolved(dockerfile: Path, folder: Path) -> Path:
    """A copy whose FROM lines have their arguments' defaults: checkov takes `FROM ${BASE}` for the latest."""
    text = dockerfile.read_text()
    for name, default in re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE):
        text = re.sub(rf"^FROM \$\{{{name}\}}", f"FROM {default}", text, flags=re.MULTILINE)
    path = folder / "Dockerfile"
    path.write_text(text)
    return path


# What follows shows that each checker works: it must refuse what is wrong.


def _misspell(found: list[Document]) -> None:
    only(found, "Deployment")["spec"]["replica"] = 3


def _mistype(found: list[Document]) -> None:
    only(found, "HorizontalPodAutoscaler")["spec"]["maxReplicas"] = "many"


def _probe_with_tls(found: list[Document]) -> None:
    containers_of(only(found, "Deployment"))[0]["livenessProbe"]["grpc"]["tls"] = True


@pytest.mark.parametrize("break_it", [_misspell, _mistype, _probe_with_tls])
def test_the_validator_refuses(break_it: Callable[[list[Document]], None], tmp_path: Path) -> None:
    found = rendered("kubernetes/overlays/cpu")
    break_it(found)
    code, said = validated(written(found, tmp_path), VERSIONS[-1])
    assert code != 0
    assert "ERROR" in said


def test_the_validator_knows_that_the_kubelet_did_not_always_sleep(tmp_path: Path) -> None:
    path = written([only(rendered("kubernetes/overlays/cpu"), "Deployment")], tmp_path)
    assert validated(path, "1.28")[0] != 0
    assert validated(path, "1.30")[0] == 0


@pytest.mark.parametrize(
    ("name", "kind", "way", "field"),
    [
        ("kubernetes/overlays/cpu", "ServiceMonitor", ("spec", "endpoints", 0), "scrapeTimeot"),
        ("kserve", "ServingRuntime", ("spec",), "protocolVersion"),
        ("kserve", "InferenceService", ("spec", "predictor", "model"), "modelformat"),
    ],
)
def test_the_schemas_refuse_unknown_fields(
    name: str, kind: str, way: tuple[str | int, ...], field: str, tmp_path: Path
) -> None:
    [document] = of_kind(rendered(name), kind)
    place = document
    for step in way:
        place = place[step]  # type: ignore[index] # lists and tables in turns
    place[field] = "1"
    code, said = schema_faults(written([document], tmp_path))
    assert code == 1
    assert field in said


def test_the_schemas_refuse_a_wrong_type(tmp_path: Path) -> None:
    [document] = of_kind(rendered("kserve"), "InferenceService")
    document["spec"]["predictor"]["minReplicas"] = "two"
    assert schema_faults(written([document], tmp_path))[0] == 1


def _weaken(container: Document) -> None:
    container["image"] = "seqserve:latest"
    container["securityContext"] = {"runAsUser": 0, "privileged": True}


@pytest.mark.parametrize("place", [0, -1])
def test_checkov_refuses(place: int, tmp_path: Path) -> None:
    """In either container of a pod that has two."""
    deployment = only(rendered("kubernetes/overlays/torchserve"), "Deployment")
    _weaken(containers_of(deployment)[place])
    failed = checkov(written([deployment], tmp_path), "kubernetes")["failed_checks"]
    found = {one["check_id"] for one in failed}
    assert found >= {"CKV_K8S_14", "CKV_K8S_16", "CKV_K8S_20", "CKV_K8S_22", "CKV_K8S_37"}


def test_checkov_renders_overlays_by_itself(tmp_path: Path) -> None:
    kustomize(DEPLOY / "kserve")
    deploy = with_components(tmp_path)
    path = deploy / "kubernetes" / "base" / "deployment.yaml"
    path.write_text(path.read_text().replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"))
    failed = checkov(deploy / "kubernetes", "kustomize")["failed_checks"]
    assert {one["check_id"] for one in failed} == {"CKV_K8S_22"}
    assert {one["resource"].split(":")[1] for one in failed} >= set(OVERLAYS)


def test_the_linters_refuse_a_dockerfile(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM debian:latest\nRUN cd /srv && apt-get install curl\n")
    linted = run(program("hadolint"), "--no-color", path)
    assert linted.returncode == 1
    assert "DL3007" in linted.stdout
    failed = {one["check_id"] for one in checkov(path, "dockerfile")["failed_checks"]}
    assert {"CKV_DOCKER_3", "CKV_DOCKER_7"} <= failed


def test_kubectl_refuses_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    assert kustomize(tmp_path).returncode != 0
