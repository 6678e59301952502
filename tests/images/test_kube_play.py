"""The Deployment of the overlay `cpu` in podman: the same pod that Kubernetes would start, but for its probes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.agreement import held_out, over_grpc
from support.container_engine import Engine
from support.container_images import ROOT, TAGS, Images
from support.containers import Container, free_ports
from support.image_answers import MODEL, check_answers
from support.kube_play import playable, rendered

pytestmark = pytest.mark.image

OVERLAY = ROOT / "deploy" / "kubernetes" / "overlays" / "cpu"
CLAIM = "seqserve-models"


@pytest.fixture
def claim(engine: Engine, store: Path) -> Iterator[None]:
    """The volume that stands for the PersistentVolumeClaim, with the store in it."""
    engine.run("podman", "volume", "rm", "--force", CLAIM, check=False)
    engine.run("podman", "volume", "create", CLAIM)
    files = Path(engine.ask("podman", "volume", "inspect", "--format", "{{.Mountpoint}}", CLAIM))
    shutil.copytree(store, files, dirs_exist_ok=True)
    yield
    engine.run("podman", "volume", "rm", "--force", CLAIM)


@pytest.fixture
def pod(engine: Engine, images: Images, claim: None, tmp_path: Path) -> Iterator[Container]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl renders the manifests, and is not here")
    manifest, ports = tmp_path / "deployment.yaml", free_ports()
    names = {TAGS["gateway"]: images.name_of("gateway")}
    manifest.write_text(playable(rendered(OVERLAY), names, ports))
    engine.run("podman", "kube", "play", "--network", "host", manifest)
    try:
        yield Container(engine, _gateway_of(engine), ports)
    finally:
        engine.run("podman", "kube", "down", manifest)


def test_its_pod_answers_and_drains(engine: Engine, pod: Container, store: Path) -> None:
    pod.wait_until_ready()
    check_answers(pod, store)
    settings = json.loads(engine.ask("podman", "inspect", pod.name))[0]

    assert settings["Config"]["User"] == "10001:10001"
    assert settings["HostConfig"]["ReadonlyRootfs"]
    assert settings["EffectiveCaps"] in (None, [])

    with ThreadPoolExecutor() as threads:
        replies = [threads.submit(over_grpc, pod, MODEL, held_out(MODEL)) for _ in range(4)]
        engine.run("podman", "pod", "stop", "--time", "60", engine.ask("podman", "pod", "ls", "--quiet"))

        assert {reply.result().model_name for reply in replies} == {MODEL}
    assert pod.exit_status == 0


def _gateway_of(engine: Engine) -> str:
    names = engine.ask("podman", "ps", "--all", "--format", "{{.Names}}").splitlines()
    return next(name for name in names if name.endswith("-gateway") and "seqserve" in name)
