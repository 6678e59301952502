"""deploy/compose.yaml starts the Dockerfile's images, all of them confined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.container_images import TAGS

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
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
    assert {*TAGS} <= {*TARGETS.findall(DOCKERFILE)}


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


def test_an_empty_volume_belongs_to_the_user_whichever_container_is_created_first(
    services: dict[str, dict[str, Any]],
) -> None:
    """It takes owner and mode from the folder of the image whose container mounts it first."""
    named = {*yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["volumes"]}
    ours = {name for name, service in services.items() if "build" in service}
    folders = {
        volume.split(":")[1]
        for name in ours
        for volume in services[name]["volumes"]
        if volume.split(":")[0] in named
    }
    stage = stage_of("image")

    assert folders == {"/models", "/run/seqserve"}
    assert re.search(r"install -d -o 10001 -g 10001 [^&]*/models\b", stage)
    assert re.search(r"install -d -m 1777 /run/seqserve\b", stage)
    for target in TAGS:
        assert "image" in ancestors(target), target
        assert not re.search(r"(chown|chmod|install -d).*(/models|/run/seqserve)", stage_of(target)), target


def test_a_gateway_before_torchserve_gets_its_token_and_no_other_key(
    services: dict[str, dict[str, Any]],
) -> None:
    settings = dict(re.findall(r"\b(SEQSERVE_TORCHSERVE_\w+)=(\S+)", stage_of("torchserve")))
    shared, own = (Path(settings[f"SEQSERVE_TORCHSERVE_{name}"]) for name in ("SHARE_TOKEN", "FOLDER"))
    mounted = [Path(volume.split(":")[1]) for volume in services["slim"]["volumes"]]

    assert services["slim"]["environment"]["SEQSERVE_TORCHSERVE_TOKEN_FILE"] == str(shared)
    assert any(shared.is_relative_to(folder) for folder in mounted)
    assert not any(own.is_relative_to(folder) for folder in mounted)


def stage_of(name: str) -> str:
    """Its part of the Dockerfile."""
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


def ancestors(stage: str) -> set[str]:
    """The stages that it is built on."""
    found = re.search(rf"^FROM (\S+) AS {stage}$", DOCKERFILE, re.MULTILINE)
    return {found[1]} | ancestors(found[1]) if found is not None else set()


def test_whoever_serves_is_asked_for_its_health(services: dict[str, dict[str, Any]]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"models"}


def test_grafanas_password_is_a_variable(services: dict[str, dict[str, Any]]) -> None:
    password = services["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]

    assert re.fullmatch(r"\$\{[A-Z_]+:-\w+\}", password)


def test_java_has_room_for_its_threads(services: dict[str, dict[str, Any]]) -> None:
    assert services["torchserve"]["pids_limit"] >= 1024
