"""deploy/compose.yaml starts the Dockerfile's images, all of them confined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.container_images import TAGS

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
TARGETS = re.compile(r"^FROM \S+ AS (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())[
        "services"
    ]
    return found


def test_each_image_of_ours_is_a_target_of_the_dockerfile(services: dict[str, dict[str, Any]]) -> None:
    ours = {
        service["build"]["target"]: service["image"] for service in services.values() if "build" in service
    }

    assert ours == TAGS
    assert {*TAGS} <= {*TARGETS.findall((ROOT / "Dockerfile").read_text())}


def test_others_images_are_named_by_digest(services: dict[str, dict[str, Any]]) -> None:
    others = [service["image"] for service in services.values() if "build" not in service]

    assert len(others) == 2
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in others)


def test_every_container_is_confined_and_no_port_is_open_to_other_machines(
    services: dict[str, dict[str, Any]],
) -> None:
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_whoever_serves_is_asked_for_its_health(services: dict[str, dict[str, Any]]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"models"}
