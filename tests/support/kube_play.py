"""What of the Kubernetes manifests podman 4.3 can run on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

PLAYED = ("ConfigMap", "Deployment")
"""Kinds; the others are a cluster's: namespaces, policies, autoscalers, services, monitors. A volume with the name of
the PersistentVolumeClaim has to be there."""
LEFT_OUT = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "ports")
"""Of a container: podman 4.3 knows no probes over gRPC and no sleep, and the host's network needs no ports."""

Manifest = dict[str, Any]


def playable(manifests: list[Manifest], images: Mapping[str, str], settings: Mapping[str, str]) -> str:
    """A manifest for `podman kube play` on the host's network.

    images: of ours, what the manifests call each → what it is called here. settings: variables of the containers.
    The kinds that are not PLAYED and what LEFT_OUT names are gone, and no image is pulled.
    """
    kept = [manifest for manifest in manifests if manifest["kind"] in PLAYED]
    for manifest in kept:
        manifest["metadata"].pop("namespace", None)
        if manifest["kind"] == "Deployment":
            manifest["spec"]["replicas"] = 1
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                _adapt(container, images, settings)
    return str(yaml.safe_dump_all(kept))


def _adapt(container: Manifest, images: Mapping[str, str], settings: Mapping[str, str]) -> None:
    container["image"], container["imagePullPolicy"] = images[container["image"]], "IfNotPresent"
    container["env"] = [
        *container.get("env", []),
        *({"name": name, "value": value} for name, value in settings.items()),
    ]
    for left_out in LEFT_OUT:
        container.pop(left_out, None)
