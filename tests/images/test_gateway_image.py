"""The gateway's image: what is in it, and how it serves, read-only and without capabilities."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from support.agreement import held_out, over_grpc
from support.container_engine import Engine
from support.container_images import ROOT, Images, health_check, inspected
from support.containers import Container, logged, reading, started
from support.image_answers import MODEL, check_answers

pytestmark = pytest.mark.image

IN_FLIGHT = re.compile(r"^seqserve_requests_in_flight(?:{[^}]*})? ([1-9]\S*)", re.MULTILINE)
# Of each source its .pyc: there, and of the kind that is not compared with the source (PEP 552: flags 1).
STALE = """
import importlib.util, pathlib, struct
for folder in ("/opt/seqserve/lib", "/usr/lib/python3.11"):
    for source in pathlib.Path(folder).rglob("*.py"):
        cached = pathlib.Path(importlib.util.cache_from_source(str(source)))
        if not cached.is_file() or struct.unpack("<I", cached.read_bytes()[4:8]) != (1,):
            print(source)
"""


@pytest.fixture(scope="module")
def gateway(engine: Engine, images: Images, store: Path) -> Iterator[Container]:
    image = images.name_of("gateway")
    with started(engine, image, "image-gateway", "--memory=1g", *reading(store)) as running:
        running.wait_until_ready()
        yield running


def test_it_answers_as_the_module_does(gateway: Container, store: Path) -> None:
    check_answers(gateway, store)


def test_the_native_front_answers_and_computes_without_python(gateway: Container) -> None:
    for _ in range(2):
        over_grpc(gateway, MODEL, held_out(MODEL)[:1])
    events = {event["event"]: event for event in logged(gateway.logs())}

    assert events["listening"]["front"] == "native"
    assert "batches run by way of Python" not in events
    assert 'front="native"' in httpx.get(f"{gateway.http}/metrics").text


def test_nobody_in_it_may_do_anything(gateway: Container) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in gateway.execute("cat", "/proc/1/status").splitlines()
        if ":\t" in line
    )

    assert status["Uid"].split() == status["Gid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_nothing_in_it_can_be_written(gateway: Container) -> None:
    # Debian's folders for everybody (sticky) lie on the file system that is read-only as well.
    search = "find / -xdev ! -fstype tmpfs ! -type l ! -perm -1000 \\( -user 10001 -o -group 10001 -o -perm -o+w \\)"

    assert gateway.execute("sh", "-c", f"{search} 2>/dev/null; true") == ""
    assert (
        gateway.execute("sh", "-c", "touch /models/x /opt/x /etc/x 2>/dev/null || echo refused") == "refused"
    )


def test_it_holds_neither_compilers_nor_installers(gateway: Container) -> None:
    found = gateway.execute(
        "sh", "-c", "for it in cc c++ gcc g++ ld make cmake pip pip3; do command -v $it; done; true"
    )
    modules = (
        "import importlib.util as u; print([m for m in ('pip', 'ensurepip', 'pybind11') if u.find_spec(m)])"
    )

    assert found == ""
    assert gateway.execute("python", "-c", modules) == "[]"
    assert gateway.execute("find", "/opt/seqserve", "-path", "*/torch/include") == ""


def test_all_of_its_bytecode_is_there_and_is_not_looked_at_twice(gateway: Container) -> None:
    assert gateway.execute("python", "-c", STALE) == ""


def test_its_health_check_finds_it_serving(gateway: Container) -> None:
    assert gateway.execute(*health_check()) == "SERVING"


def test_its_labels_say_what_it_is(gateway: Container, engine: Engine) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = inspected(engine, "gateway")["Config"]["Labels"]

    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert gateway.execute("seqserve", "--version").endswith(project["version"])


def test_what_is_in_flight_is_answered_before_it_ends(engine: Engine, images: Images, store: Path) -> None:
    image, delay = images.name_of("gateway"), "5"  # the engine waits so long for a fuller batch
    with (
        started(
            engine, image, "image-drain", *reading(store), SEQSERVE_MAX_QUEUE_DELAY_SECONDS=delay
        ) as running,
        ThreadPoolExecutor() as threads,
    ):
        running.wait_until_ready()
        reply = threads.submit(over_grpc, running, MODEL, held_out(MODEL)[:1])
        running.wait_for(lambda: bool(IN_FLIGHT.search(httpx.get(f"{running.http}/metrics").text)), "is idle")
        assert not reply.done()
        status = running.stop()

        assert status == 0
        assert reply.result().model_name == MODEL
        assert [event["event"] for event in logged(running.logs())][-2:] == ["draining", "stopped"]
