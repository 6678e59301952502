"""The main claim: every held-out example of the zoo gets the same answer over every path, from one archive."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from seqserve.client import Client
from seqserve_models.zoo import MODELS
from support.agreement import (
    assert_agree,
    eager,
    held_out,
    over_bytes,
    over_grpc,
    over_grpc_alone,
    over_json,
    post,
)
from support.archives import FloatArray
from support.oip import rows_of
from support.served import Served, run, serving, started

LIMIT_SECONDS = 60
SETTINGS = "watch_interval_seconds = 0.2\n"
GOOD = [[0.5] * 784]


@dataclass(frozen=True)
class Gateways:
    """Three over one store: embedded, one with a TorchServe of its own, one that asks that TorchServe too.

    config: the file that all three follow.
    """

    embedded: Served
    managed: Served
    external: Served
    config: Path


PATHS: dict[str, Callable[[Gateways, str], FloatArray]] = {
    "embedded": lambda gateways, name: rows_of(over_grpc(gateways.embedded, name, held_out(name))),
    "embedded, alone": lambda gateways, name: over_grpc_alone(gateways.embedded, name, held_out(name)),
    "managed": lambda gateways, name: rows_of(over_grpc(gateways.managed, name, held_out(name))),
    "external": lambda gateways, name: rows_of(over_grpc(gateways.external, name, held_out(name))),
    "external, alone": lambda gateways, name: over_grpc_alone(gateways.external, name, held_out(name)),
    "HTTP, JSON": lambda gateways, name: over_json(gateways.managed, name, held_out(name)),
    "HTTP, bytes": lambda gateways, name: over_bytes(gateways.managed, name, held_out(name)),
}


def copy_line(two_lines: Path, version: str, store: Path) -> None:
    for path in two_lines.glob(f"line-{version}.*"):
        shutil.copy(path, store)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, store: Path, two_lines: Path) -> Path:
    """Version 1 of all five, trained for a moment."""
    folder = tmp_path_factory.mktemp("zoo") / "model-store"
    shutil.copytree(store, folder)
    copy_line(two_lines, "1", folder)
    commands = (
        # With as many epochs as digit_mlp of `store`, of which digit_parity is then made.
        ("build", "digit_nested", "digit_parity", "--epochs", "8", "--output", folder),
        ("build", "digit_bottleneck", "--epochs", "2", "--output", folder),
    )
    with ThreadPoolExecutor() as pool:  # each uses one core
        for built in pool.map(lambda command: run(*command), commands):
            assert built.returncode == 0, built.stderr
    assert {path.name for path in folder.glob("*.mar")} == {f"{name}-1.mar" for name in MODELS}
    return folder


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, zoo: Path) -> Iterator[Gateways]:
    """All three, with one TorchServe between them."""
    folder = tmp_path_factory.mktemp("gateways")
    config = folder / "seqserve.toml"
    config.write_text(SETTINGS)
    embedded_at, managed_at, external_at = (folder / name for name in ("embedded", "managed", "external"))
    for each in (embedded_at, managed_at, external_at):
        each.mkdir()
    follow = f"--config={config}"
    with (
        started(embedded_at, zoo, follow) as embedded,  # while TorchServe starts
        serving(managed_at, zoo, follow, "--engine=torchserve") as managed,
        serving(external_at, zoo, follow, *beside(managed)) as external,
    ):
        embedded.wait_for("serving")
        yield Gateways(embedded, managed, external, config)


def beside(gateway: Served) -> tuple[str, ...]:
    """Options of one that asks the same TorchServe as another."""
    torchserve = gateway.events()["torchserve started"]
    address, tokens = torchserve["grpc"], torchserve["tokens"]
    return "--engine=torchserve", f"--torchserve-address={address}", f"--torchserve-token-file={tokens}"


@pytest.fixture(scope="module")
def answers(gateways: Gateways) -> Callable[[str, str], FloatArray]:
    """What a path gives for all held-out examples of a model, asked once."""

    @cache
    def ask(path: str, name: str) -> FloatArray:
        return PATHS[path](gateways, name)

    return ask


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", MODELS)
def test_every_held_out_example_is_answered_as_the_module_does(
    answers: Callable[[str, str], FloatArray], zoo: Path, name: str, path: str
) -> None:
    expected = eager(zoo, name)
    assert len(expected) == len(held_out(name)) == (50 if name == "line" else 359)
    assert np.ptp(expected, axis=0).max() > 0.1  # it does look at its input
    assert_agree(answers(path, name), expected)


@pytest.mark.parametrize("name", MODELS)
def test_any_two_paths_agree(answers: Callable[[str, str], FloatArray], name: str) -> None:
    for one, other in combinations(PATHS, 2):
        assert_agree(answers(one, name), answers(other, name))


@pytest.mark.parametrize("name", MODELS)
def test_a_receipt_names_the_engine_and_the_archive_where_it_was_verified(
    gateways: Gateways, zoo: Path, name: str
) -> None:
    digest = (zoo / f"{name}-1.mar.sha256").read_text().split()[0]

    assert receipt(gateways.embedded, name) == ("embedded", digest)
    assert receipt(gateways.managed, name) == ("torchserve", digest)
    assert receipt(gateways.external, name) == ("torchserve", None)  # what runs there, nobody here has seen


def receipt(gateway: Served, name: str) -> tuple[str, str | None]:
    """Engine and archive's hash of one reply; None where it has no hash."""
    given = over_grpc(gateway, name, held_out(name)[:1]).parameters
    digest = given["seqserve_archive_sha256"].string_param if "seqserve_archive_sha256" in given else None
    return given["seqserve_engine"].string_param, digest


@pytest.mark.parametrize("gateway", ["embedded", "managed", "external"])
def test_every_model_and_no_other_is_ready(gateways: Gateways, gateway: str) -> None:
    with Client(getattr(gateways, gateway).grpc) as client:
        models = client.models()

    assert {model.name for model in models} == set(MODELS)
    assert {model.state for model in models} == {"ready"}


def test_callers_who_name_no_version_meet_the_same_one_everywhere(
    gateways: Gateways, zoo: Path, two_lines: Path
) -> None:
    copy_line(two_lines, "2", zoo)
    until(lambda: versions_met(gateways) == ["2"] * 4)

    gateways.config.write_text(f"{SETTINGS}[models.line]\nlabels = {{ stable = 1 }}\n")
    until(lambda: versions_met(gateways) == ["1"] * 4)

    assert versions_met(gateways, "2") == ["2"] * 4


def versions_met(gateways: Gateways, version: str = "") -> list[str]:
    """The line's version that answers over each path."""
    over = [gateways.embedded, gateways.managed, gateways.external]
    met = [over_grpc(each, "line", held_out("line"), version=version).model_version for each in over]
    reply = post(gateways.managed, f"line/{version}".rstrip("/"), "[0.5]")
    return [*met, reply.json()["model_version"]]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


BAD = {
    "a pixel too few": (json.dumps([[0.5] * 783]), "SHAPE_NOT_ACCEPTED", "783"),
    "another shape": (json.dumps(np.zeros((2, 14, 56)).tolist()), "SHAPE_NOT_ACCEPTED", "[2,14,56]"),
    "0 to 255": (json.dumps([[255.0] * 784]), "OUT_OF_RANGE", "255"),
    "NaN": (json.dumps([[float("nan")] * 784]), "NOT_FINITE", "nan"),
}


@pytest.mark.parametrize(("content", "reason", "came"), BAD.values(), ids=BAD)
def test_a_bad_row_over_torchserves_http_is_400_with_words_that_help(
    gateways: Gateways, content: str, reason: str, came: str
) -> None:
    response = post(gateways.managed, "digit_mlp", content)

    assert response.status_code == 400
    assert response.json()["reason"] == reason
    assert "image" in response.json()["error"]
    assert came in response.json()["error"].lower()


@pytest.mark.parametrize("content", ["", "{", '"seven"', '{"pixels": []}'])
def test_what_holds_no_rows_is_400(gateways: Gateways, content: str) -> None:
    response = post(gateways.managed, "digit_mlp", content)

    assert response.status_code == 400
    assert response.json()["error"]


def test_another_content_type_is_415(gateways: Gateways) -> None:
    response = post(gateways.managed, "digit_mlp", "0.5", **{"Content-Type": "text/csv"})

    assert response.status_code == 415


def test_after_bad_rows_good_ones_are_answered(gateways: Gateways) -> None:
    assert post(gateways.managed, "digit_mlp", "nonsense").status_code == 400

    response = post(gateways.managed, "digit_mlp", json.dumps({"instances": GOOD}))
    assert response.status_code == 200
    assert sum(response.json()["predictions"][0]["probabilities"]) == pytest.approx(1.0, abs=1e-3)
