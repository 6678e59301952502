"""The configuration reaches gateways that run."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path, PurePosixPath

import pytest

from seqserve.config_watch import LIVE
from support.deployed import gateways_of
from support.manifests import DEPLOY, OVERLAYS, ROOT, Document, documents, kustomize, only, pod_of

pytestmark = pytest.mark.deploy


def mount_of(container: Document, file: str) -> Document:
    """Where its folder is mounted."""
    [found] = [
        one for one in container["volumeMounts"] if one["mountPath"] == str(PurePosixPath(file).parent)
    ]
    mount: Document = found
    return mount


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_change_of_the_configuration_is_one_of_the_mounted_file_alone(name: str, tmp_path: Path) -> None:
    """Pods stay as they are, and see it: the kubelet renews a mounted ConfigMap, though not by `subPath`."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    path = tmp_path / "deploy/kubernetes/base/seqserve.toml"
    before = documents(kustomize(tmp_path / "deploy/kubernetes/overlays" / name).stdout)
    path.write_text(path.read_text() + 'log_level = "debug"\n')
    after = documents(kustomize(tmp_path / "deploy/kubernetes/overlays" / name).stdout)
    assert only(after, "Deployment") == only(before, "Deployment")
    old, new = only(before, "ConfigMap"), only(after, "ConfigMap")
    assert new["metadata"] == old["metadata"]
    assert new["data"] == {"seqserve.toml": path.read_text()} != old["data"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_gateway_reads_the_mounted_file(name: str) -> None:
    found = documents(kustomize(DEPLOY / "kubernetes/overlays" / name).stdout)
    deployment = only(found, "Deployment")
    gateway = gateways_of(deployment)[0]
    file = gateway["args"][gateway["args"].index("--config") + 1]
    mount = mount_of(gateway, file)
    assert "subPath" not in mount
    [volume] = [one for one in pod_of(deployment)["volumes"] if one["name"] == mount["name"]]
    assert volume["configMap"] == {"name": only(found, "ConfigMap")["metadata"]["name"]}


def test_the_page_says_what_takes_a_restart() -> None:
    """All but what a gateway follows, and so what the file sets at first."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    [section] = re.findall(r"^### What takes a restart$(.*?)^##", page, re.MULTILINE | re.DOTALL)
    followed = section[: section.index(" count without one")]
    assert all(word in followed for word in LIVE)
    set_at_first = tomllib.loads((DEPLOY / "kubernetes/base/seqserve.toml").read_text())
    assert set_at_first.keys().isdisjoint(LIVE)
