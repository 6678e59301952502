"""What is in each image, seen by its user, read-only and without capabilities. The container sleeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.container_engine import Engine
from support.container_images import TAGS, Images
from support.containers import Container, reading, started

pytestmark = pytest.mark.image

ASLEEP = '--entrypoint=["/usr/bin/tini", "--", "sleep", "infinity"]'
# Debian's folders for everybody (sticky) lie on the file system that is read-only as well. Beside what it finds, only
# faults are printed that are not a folder of root's.
WRITABLE = """
find {folder} -xdev ! -type l ! -perm -1000 '(' -user 10001 -o -group 10001 -o -perm -o+w ')' 2>/tmp/faults
grep -v 'Permission denied' /tmp/faults || true
"""
# Of each source its .pyc: there, and of the kind that is not compared with the source (PEP 552: flags 1).
STALE = """
import importlib.util, pathlib, struct
sources = [*pathlib.Path("/opt/seqserve/lib").rglob("*.py"), *pathlib.Path("/usr/lib/python3.11").rglob("*.py")]
assert len(sources) > 1000, len(sources)
for source in sources:
    cached = pathlib.Path(importlib.util.cache_from_source(str(source)))
    if not cached.is_file() or struct.unpack("<I", cached.read_bytes()[4:8]) != (1,):
        print(source)
"""


@pytest.fixture(scope="module", params=TAGS)
def asleep(
    request: pytest.FixtureRequest, engine: Engine, images: Images, store: Path
) -> Iterator[Container]:
    target = request.param
    image = images.name_of(target)
    with started(engine, image, f"image-{target}-asleep", ASLEEP, *reading(store)) as running:
        yield running


def test_nobody_in_it_may_do_anything(asleep: Container) -> None:
    status = dict(
        line.split(":\t", 1) for line in asleep.execute("cat", "/proc/1/status").splitlines() if ":\t" in line
    )

    assert status["Uid"].split() == status["Gid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_nothing_in_it_can_be_written(asleep: Container) -> None:
    asleep.execute("sh", "-c", "mkdir -p /tmp/planted && touch /tmp/planted/own")

    assert asleep.execute("sh", "-c", WRITABLE.format(folder="/tmp/planted")).splitlines() == [  # noqa: S108 - inside
        "/tmp/planted",  # noqa: S108 - inside
        "/tmp/planted/own",  # noqa: S108 - inside
    ]
    assert asleep.execute("sh", "-c", WRITABLE.format(folder="/")) == ""
    for folder in ("/models", "/opt/seqserve", "/etc", "/run"):
        said = asleep.execute("sh", "-c", f"touch {folder}/x 2>&1 || echo refused")
        assert said.endswith("\nrefused"), folder


def test_it_holds_neither_compilers_nor_installers(asleep: Container) -> None:
    looked = "for it in sh cc c++ gcc g++ ld make cmake pip pip3; do command -v $it; done; true"
    modules = (
        "import importlib.util as u; print([m for m in ('pip', 'ensurepip', 'pybind11') if u.find_spec(m)])"
    )

    assert asleep.execute("sh", "-c", looked).splitlines() == ["/usr/bin/sh"]
    assert asleep.execute("python", "-c", modules) == "[]"
    assert asleep.execute("find", "/opt/seqserve", "-path", "*/torch/include") == ""


def test_all_of_its_bytecode_is_there_and_is_not_looked_at_twice(asleep: Container) -> None:
    assert asleep.execute("python", "-c", STALE) == ""
