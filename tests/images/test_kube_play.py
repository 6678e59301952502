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
from support.container_images import TAGS, Images
from support.containers import Container, free_ports, logged
from support.image_answers import MODEL, check_answers
from support.kube_play import playable
from support.manifests import rendered
from support.required import skip_or_fail

pytestmark = pytest.mark.image

OVERLAY = "kubernetes/overlays/cpu"
QUEUE_DELAY, DELAY_SECONDS = "SEQSERVE_MAX_QUEUE_DELAY_SECONDS", "5"
"""So long the engine waits for a fuller batch: time to see a call in flight, and to end the pod."""
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
        skip_or_fail("image", "kubectl renders the manifests, and is not here")
    manifest, ports = tmp_path / "deployment.yaml", free_ports()
    names = {TAGS["gateway"]: images.name_of("gateway")}
    settings = {name: str(port) for name, port in ports.items()} | {QUEUE_DELAY: DELAY_SECONDS}
    manifest.write_text(playable(rendered(OVERLAY), names, settings))
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
        reply = threads.submit(over_grpc, pod, MODEL, held_out(MODEL)[:1])
        pod.wait_until_in_flight()
        assert not reply.done()
        engine.run("podman", "pod", "stop", "--time", "60", engine.ask("podman", "pod", "ls", "--quiet"))

        assert reply.result().model_name == MODEL
    assert pod.exit_status == 0
    assert [event["event"] for event in logged(pod.logs())][-2:] == ["draining", "stopped"]


def _gateway_of(engine: Engine) -> str:
    names = engine.ask("podman", "ps", "--all", "--format", "{{.Names}}").splitlines()
    return next(name for name in names if name.endswith("-gateway") and "seqserve" in name)
