"""A second build, from an empty storage, gives the same images to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.container_engine import running_engine
from support.container_images import TAGS, Images, inspected, make_base, say

pytestmark = pytest.mark.image


def test_a_build_from_nothing_gives_the_same_images(images: Images, tmp_path: Path) -> None:
    with running_engine(tmp_path / "storage") as other:
        make_base(other, images.folder)
        again = Images(other, tmp_path, set())
        for target in TAGS:
            images.name_of(target)
            again.name_of(target)
            first, second = inspected(images.engine, target), inspected(other, target)
            say(f"{target}: {first['Id']}")

            assert second["RootFS"]["Layers"] == first["RootFS"]["Layers"]
            assert second["Id"] == first["Id"]
        other.run("buildah", "rmi", "--all", "--force")
