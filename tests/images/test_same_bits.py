"""A second build, from an empty storage, gives the same images to the last bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.container_engine import running_engine
from support.container_images import TAGS, Images, inspected, make_base, say

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def again(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """Built in a storage of its own, in which there is nothing yet."""
    folder = tmp_path_factory.mktemp("again")
    with running_engine(folder / "storage") as other:
        make_base(other, images.folder)
        yield Images(other, folder, set())
        other.run("buildah", "rmi", "--all", "--force", check=False)


@pytest.mark.parametrize("target", TAGS)
def test_a_build_from_nothing_gives_the_same_image(images: Images, again: Images, target: str) -> None:
    images.name_of(target)
    again.name_of(target)
    first, second = inspected(images.engine, target), inspected(again.engine, target)
    say(f"{target}: {first['Digest']}")

    assert second["RootFS"]["Layers"] == first["RootFS"]["Layers"]
    assert (second["Id"], second["Digest"]) == (first["Id"], first["Digest"])
