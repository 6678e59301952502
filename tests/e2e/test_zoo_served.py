"""The whole zoo, built in one run and served with a TorchServe beside the embedded engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seqserve_models.zoo import MODELS
from support.agreement import assert_agree, eager, held_out, over_grpc, over_json
from support.oip import rows_of
from support.served import Served, run, serving

pytestmark = pytest.mark.long  # test_paths_agree.py has the same models without a second start of TorchServe


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five, trained for a moment."""
    folder = tmp_path_factory.mktemp("zoo") / "model-store"
    built = run("build", "--all", "--epochs", "3", "--output", folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, zoo: Path) -> Iterator[Served]:
    """The embedded engine, and a TorchServe beside it."""
    with serving(tmp_path_factory.mktemp("served"), zoo, "--with-torchserve") as gateway:
        yield gateway


@pytest.mark.parametrize("name", MODELS)
def test_both_answer_as_the_module_does(served: Served, zoo: Path, name: str) -> None:
    expected, examples = eager(zoo, name), held_out(name)

    assert_agree(rows_of(over_grpc(served, name, examples)), expected)
    assert_agree(over_json(served, name, examples), expected)


def test_every_model_and_no_other_is_ready(served: Served) -> None:
    listed = run("models", "--address", served.grpc)
    assert listed.returncode == 0, listed.stderr
    for name in MODELS:
        assert name in listed.stdout
    assert listed.stdout.upper().count("READY") == len(MODELS)


def test_beside_each_archive_lie_its_hash_its_checkpoint_and_its_report(zoo: Path) -> None:
    suffixes = (".mar", ".mar.sha256", ".checkpoint.pt", ".report.html")
    expected = {f"{name}-1{suffix}" for name in MODELS for suffix in suffixes}
    assert {path.name for path in zoo.iterdir()} == expected
