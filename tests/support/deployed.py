"""Gateways as the manifests of deploy/ set them up."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqserve import __version__
from seqserve.settings import Settings
from seqserve.settings_reading import read_settings
from support.manifests import Document, containers_of, of_kind, only, pod_of, rendered

HEALTH_PORT = 8002  # of the images
USER = 10001
TARGETS = {
    f"seqserve:{__version__}": "gateway",
    f"seqserve:{__version__}-slim": "gateway-slim",
    f"seqserve:{__version__}-torchserve": "torchserve",
    f"seqserve:{__version__}-build": "build",
}
"""What the manifests call an image → the Dockerfile's target."""


def overlay(name: str) -> list[Document]:
    """All resources of an overlay."""
    return rendered(f"kubernetes/overlays/{name}")


def workloads(name: str) -> list[Document]:
    """What has pods with gateways, of a folder under deploy/."""
    found = rendered(name)
    return [*of_kind(found, "Deployment"), *of_kind(found, "ServingRuntime")]


def gateways_of(workload: Document) -> list[Document]:
    """Containers: that which callers reach, then the one that keeps a TorchServe, where there is one."""
    [gateway] = pod_of(workload)["containers"]
    return [gateway, *(one for one in containers_of(workload) if one is not gateway)]


def environment_of(container: Document) -> dict[str, str]:
    """Its variables."""
    return {one["name"]: one["value"] for one in container.get("env", [])}


def settings_of(container: Document, name: str, folder: Path) -> Settings:
    """As `seqserve serve` reads them there; folder: for a copy of the configuration."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SEQSERVE_HEALTH_PORT", str(HEALTH_PORT))
        for variable, value in environment_of(container).items():
            patched.setenv(variable, value)
        if "--config" not in container.get("args", []):
            return read_settings({})
        path = folder / "seqserve.toml"
        path.write_text(only(rendered(name), "ConfigMap")["data"]["seqserve.toml"])
        return read_settings({}, path)


def labels_of(deployment: Document) -> dict[str, str]:
    """Of its pods."""
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Whether `matchLabels` means what has these labels."""
    return selector.items() <= labels.items()
