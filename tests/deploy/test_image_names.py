"""The manifests name images that the Dockerfile makes, set up as they think."""

from __future__ import annotations

import re

import pytest

from seqserve import __version__
from support.deployed import HEALTH_PORT, TARGETS, USER, workloads
from support.manifests import RENDERED, ROOT, containers_of

DOCKERFILE = ROOT / "Dockerfile"

pytestmark = pytest.mark.deploy


@pytest.mark.parametrize("name", RENDERED)
def test_images_are_those_of_this_version(name: str) -> None:
    for workload in workloads(name):
        for container in containers_of(workload):
            assert container["image"] in {*TARGETS, f"seqserve:{__version__}-cuda"}


def test_the_images_exist_and_are_set_up_as_the_manifests_think() -> None:
    if not DOCKERFILE.exists():
        pytest.skip("no Dockerfile")
    text = DOCKERFILE.read_text()
    assert set(TARGETS.values()) <= set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    assert f"SEQSERVE_HEALTH_PORT={HEALTH_PORT}" in text
    assert "SEQSERVE_MODEL_STORE=/models" in text
    assert f"USER {USER}:{USER}" in text
    entry = re.search(r"^ENTRYPOINT \[(.*)\]$", text, re.MULTILINE)
    assert entry
    assert entry[1].rstrip('"').endswith("seqserve")  # so the manifests give it arguments alone
