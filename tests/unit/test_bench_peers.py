"""What other servers the benchmark knows, how they are pinned, and that one that fails stops nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import numpy as np
import pytest

from bench import labels
from bench.fronts import absent_labels
from bench.messages import Rows
from bench.native import missing_native
from bench.peers import installing, starting
from bench.peers.installing import Environment, NotInstalled, install
from bench.serving import Server, ServerFailed
from bench.setting import Setting

ROWS = Rows("digit_mlp", np.zeros((1, 784), np.float32), np.full((1, 10), 0.1, np.float32))
PINNED = re.compile(r"^[a-z0-9-]+==[0-9a-z.]+ \\$")


def test_every_peer_has_labels_that_the_rounds_know() -> None:
    assert starting.STARTS.keys() == starting.LABELS.keys()
    assert {label for each in starting.LABELS.values() for label in each} == set(labels.PEERS)


@pytest.mark.parametrize("peer", starting.STARTS)
def test_a_peer_is_pinned_with_hashes_and_torch_apart(peer: str) -> None:
    lines = installing.LISTS.joinpath(f"{peer}.txt").read_text().splitlines()

    named = [line for line in lines if line and line[0] not in "# "]
    assert named
    assert all(PINNED.match(line) for line in named)
    assert not any(line.startswith("torch==") for line in named)


def test_what_is_installed_is_kept_until_its_list_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(environment: Environment, pinned: Path) -> None:
        environment.folder.mkdir(parents=True, exist_ok=True)
        made.append(pinned)

    monkeypatch.setattr(installing, "_make", make)
    monkeypatch.setattr(installing, "LISTS", tmp_path)
    (tmp_path / "mosec.txt").write_text("mosec==1\n")
    for _ in range(2):
        install("mosec", tmp_path / "environments")
    assert len(made) == 1

    (tmp_path / "mosec.txt").write_text("mosec==2\n")
    install("mosec", tmp_path / "environments")
    assert len(made) == 2


def test_what_was_not_asked_for_says_how_to_ask() -> None:
    absent = absent_labels(["mosec"])

    assert absent[labels.PEERS[2]] == 'make bench PEERS="triton" measures it'
    assert labels.PEERS[0] not in absent
    assert (labels.NATIVE in absent) == bool(missing_native())


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def setting(said: list[str], tmp_path: Path) -> Setting:
    given: Any = SimpleNamespace(
        peers=["mosec", "torchserve", "triton"], archive=None, folder=tmp_path, core=0, say=said.append
    )
    return cast("Setting", given)


def test_a_peer_that_fails_is_told_of_in_a_line_and_the_others_go_on(
    setting: Setting, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = cast("Server", object())

    @contextmanager
    def works(environment: Environment, *_: object) -> Iterator[Mapping[str, Server]]:
        yield {"Triton, Python backend": server}

    def ends(environment: Environment, *_: object) -> NoReturn:
        raise ServerFailed("it ended:\nno such file")

    def installed(name: str) -> Environment:
        if name == "mosec":
            raise NotInstalled("ERROR: no such package")
        return Environment(Path(name))

    monkeypatch.setattr(starting, "install", installed)
    monkeypatch.setattr(starting, "model_files", lambda *_: None)
    monkeypatch.setattr(starting, "first_right_answer", lambda *_: b"")
    monkeypatch.setattr(starting, "STARTS", {"mosec": works, "torchserve": ends, "triton": works})

    with starting.peers(setting, ROWS) as found:
        assert found.servers == {"Triton, Python backend": server}
        assert found.absent["mosec, batch 32"] == "ERROR: no such package"
        assert found.absent["TorchServe, batch 1, HTTP"] == "it ended: no such file"

    assert "mosec is not measured: ERROR: no such package" in said
    assert "torchserve is not measured: it ended: no such file" in said
