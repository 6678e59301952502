"""What the locks pin: everything, with hashes, but for torch, whose build is the user's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supply.pins import Pin, PinsFaulty, closure, pin_of, read_pins

ROOT = Path(__file__).parents[2]
LOCKS = (
    "requirements.lock",
    "tests/e2e/clients/requirements.txt",
    "supply/requirements.txt",
    "deploy/requirements.txt",
    "tests/fuzz/requirements.txt",
)
MAKEFILE = (ROOT / "Makefile").read_text()
TORCH_INSTALL = "$(BIN)/pip install $(TORCH)"
HASH = "0" * 64
PINNED = f"alpha==1.0 \\\n    --hash=sha256:{HASH}\n    # via beta\n"


def lock(folder: Path, text: str) -> Path:
    path = folder / "lock.txt"
    path.write_text(text)
    return path


def test_a_pin_has_version_hashes_and_who_needs_it(tmp_path: Path) -> None:
    others = f"beta==2.0rc1 \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{'1' * 64}\n    # via\n    #   mine\n    #   torch\n"

    pins = read_pins(lock(tmp_path, f"#\n# made\n#\n{PINNED}{others}\n# WARNING: not pinned\n# torch\n"))

    assert pins == {
        "alpha": Pin("alpha", "1.0", (HASH,), frozenset({"beta"})),
        "beta": Pin("beta", "2.0rc1", (HASH, "1" * 64), frozenset({"mine", "torch"})),
    }
    assert closure(["beta", "unpinned"], pins) == {"alpha", "beta"}
    assert closure(["alpha"], pins) == {"alpha"}


@pytest.mark.parametrize(
    "text",
    [
        "alpha==1.0\n",
        f"{PINNED}beta==1.0\n",
        f"{PINNED}beta>=1.0 \\\n    --hash=sha256:{HASH}\n",
        f"{PINNED}beta==1.0 \\\n    --hash=md5:{'0' * 32}\n",
        f"{PINNED}https://example.org/beta-1.0.whl\n",
        f"--extra-index-url https://example.org\n{PINNED}",
        f"{PINNED}-e .\n",
        PINNED + PINNED,
        "# nothing\n",
    ],
)
def test_what_pip_would_take_without_a_hash_is_no_lock(tmp_path: Path, text: str) -> None:
    with pytest.raises(PinsFaulty):
        read_pins(lock(tmp_path, text))


@pytest.mark.parametrize("path", LOCKS)
def test_every_package_of_our_locks_is_pinned_with_hashes(path: str) -> None:
    pins = read_pins(ROOT / path)

    assert all(pin.sha256 and pin.needed_by for pin in pins.values())


def test_torch_is_in_no_lock_of_ours_and_pinned_exactly() -> None:
    found = re.search(r"^TORCH \?= (.+)$", MAKEFILE, re.MULTILINE)
    assert found is not None
    torch = pin_of(found[1])

    assert "torch" not in read_pins(ROOT / "requirements.lock")
    assert torch.name == "torch"
    assert f'"torch=={torch.version.rpartition(".")[0]}.*"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "requirement", ["", "torch", "torch>=2", "torch==2.*", "torch ==2.13.0", "--pre torch==2.13.0"]
)
def test_a_pin_of_torch_names_one_version(requirement: str) -> None:
    with pytest.raises(PinsFaulty):
        pin_of(requirement)


def test_make_installs_nothing_else_without_hashes() -> None:
    installs = [line.strip() for line in MAKEFILE.splitlines() if "pip install" in line]

    assert [line for line in installs if "--no-deps --require-hashes" not in line] == [
        TORCH_INSTALL,
        "$(BIN)/pip install --no-deps --no-build-isolation -e .",
    ]


def test_what_torch_needs_is_there_with_its_hashes_before_torch_is_installed() -> None:
    lock_install = "$(BIN)/pip install --no-deps --require-hashes -r requirements.lock"
    needed = {name for name, pin in read_pins(ROOT / "requirements.lock").items() if "torch" in pin.needed_by}

    assert MAKEFILE.index(lock_install) < MAKEFILE.index(TORCH_INSTALL)
    assert {"sympy", "jinja2", "networkx"} <= needed  # pip would take them from anywhere otherwise
