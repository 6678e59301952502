"""Models that were trained elsewhere: what can be archived, and what is refused with nothing written."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seqserve.archive import read_archive
from seqserve.engines.embedded import EmbeddedEngine
from seqserve.golden import check_golden
from seqserve.trust import UNCHECKED
from seqserve_models.attestation import attestation, statement
from seqserve_models.build import BuildResult
from seqserve_models.checkpoint import read_checkpoint, weights_sha256
from seqserve_models.signing_keys import make_key, read_signing_key
from seqserve_models.weights import read_torchscript
from support.command import Ended, seqserve

SIGNATURE = {
    "name": "mine",
    "input": {"name": "x", "shape": [-1, 4]},
    "output": {"name": "p", "shape": [-1, 3]},
    "minimum": 10.0,
    "training": {"dataset": "flowers", "metrics": {"test_accuracy": 0.5}},
}
OWN = """
import torch
from torch import nn
from seqserve_models import Dataset, ModelDefinition, Recipe

class Half(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values / 2

def build():
    return nn.Sequential(nn.Linear(4, 3), Half(), nn.Softmax(dim=1))

def load(options):
    raise AssertionError("packaging needs no data")

OWN = ModelDefinition(name="own", build=build, input_shape=(4,), output_shape=(3,),
                      recipes={"none": Recipe(load=load, epochs=1)})
"""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """An engine sets torch's threads for the whole program."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def network(*last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), *(last or (nn.Softmax(dim=1),)))


def save_script(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():  # TorchScript's deprecation is no news here
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a signature and a definition."""
    (tmp_path / "signature.json").write_text(json.dumps(SIGNATURE))
    (tmp_path / "own.v2.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def package(*arguments: str) -> Ended:
    return seqserve("package", *arguments)


async def answers_as_its_golden_rows(path: Path) -> bool:
    archive = read_archive(path, UNCHECKED)
    engine = EmbeddedEngine(device="cpu")
    try:
        return await check_golden(archive, await engine.load(archive), "cpu") <= 1e-5
    finally:
        await engine.aclose()


async def test_torchscript_with_a_signature(folder: Path) -> None:
    save_script(network().eval(), folder / "trained.pt")
    ended = package("trained.pt", "--signature", "signature.json")
    assert (ended.status, ended.errors) == (0, "")
    archive = read_archive(folder / "model-store" / "mine-1.mar", UNCHECKED)
    assert archive.sha256 in ended.output
    assert archive.signature.training["dataset"] == "flowers"
    assert archive.signature.training["packaged_from"] == "TorchScript"
    assert archive.torchscript == (folder / "trained.pt").read_bytes()
    assert archive.golden_inputs.shape == (8, 4)
    assert archive.golden_inputs.min() >= 10
    assert np.unique(archive.golden_inputs).size == 32  # examples that are all equal would prove little
    assert await answers_as_its_golden_rows(folder / "model-store" / "mine-1.mar")

    key = make_key("release", folder / "keys").private
    elsewhere = ("--output", "another", "--version", "1", "--signing-key", str(key))
    again = package("trained.pt", "--signature", "signature.json", *elsewhere)
    assert again.status == 0
    attested = attestation(statement("mine", "1", archive.sha256), read_signing_key(key))
    assert (folder / "another" / "mine-1.mar.sig").read_bytes() == attested
    first, second = (folder / store / "mine-1.mar" for store in ("model-store", "another"))
    assert first.read_bytes() == second.read_bytes()

    before = sorted(path.name for path in (folder / "model-store").iterdir())
    twice = package("trained.pt", "--signature", "signature.json", "--version", "1")
    assert twice.status == 2
    assert "version 1 of mine is in model-store already" in twice.one_line
    assert sorted(path.name for path in (folder / "model-store").iterdir()) == before


async def test_weights_with_a_definition_that_has_a_layer_of_its_own(folder: Path) -> None:
    weights = {name: nn.Parameter(one.bfloat16()) for name, one in network().state_dict().items()}
    torch.save(weights, folder / "weights.pt")
    np.save(folder / "rows.npy", np.asfortranarray(np.random.default_rng(0).random((6, 4), np.float32)))
    ended = package("weights.pt", "--definition", "own.v2.py:OWN", "--examples", "rows.npy")
    assert (ended.status, ended.errors) == (0, "")
    path = folder / "model-store" / "own-1.mar"
    assert await answers_as_its_golden_rows(path)
    np.testing.assert_array_equal(read_archive(path, UNCHECKED).golden_inputs, np.load(folder / "rows.npy"))

    checkpoint = read_checkpoint(path.with_name("own-1.checkpoint.pt"))
    assert checkpoint.is_finished
    assert torch.equal(checkpoint.state_dict["0.weight"], weights["0.weight"].float())
    hashed = read_archive(path, UNCHECKED).signature.training["weights_sha256"]
    assert hashed == checkpoint.settings["weights_sha256"] == weights_sha256(checkpoint.state_dict)


def test_a_checkpoint_of_a_build_is_archived_again(folder: Path, built: BuildResult) -> None:
    checkpoint = built.path.with_name("digit_mlp-1.checkpoint.pt")
    assert package(str(checkpoint), "--definition", "digit_mlp").status == 0
    again = read_archive(folder / "model-store" / "digit_mlp-1.mar", UNCHECKED)
    assert again.torchscript == read_archive(built.path, UNCHECKED).torchscript


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ((nn.Identity(),), "a probability is -"),
        ((nn.Sigmoid(),), "the sum of the probabilities and 1 differ"),
        ((nn.Linear(3, 2), nn.Softmax(dim=1)), "the module gives float32 [32, 2], not float32 [32, 3]"),
    ],
)
def test_answers_that_are_no_probabilities_are_refused(
    folder: Path, last: tuple[nn.Module, ...], says: str
) -> None:
    torch.manual_seed(0)
    save_script(network(*last).eval(), folder / "trained.pt")
    ended = package("trained.pt", "--signature", "signature.json")
    assert ended.status == 1
    assert says in ended.one_line
    assert not (folder / "model-store").exists()


def test_torchscript_that_takes_other_shapes_is_refused(folder: Path) -> None:
    save_script(nn.Sequential(nn.Linear(5, 3), nn.Softmax(dim=1)).eval(), folder / "trained.pt")
    ended = package("trained.pt", "--signature", "signature.json")
    assert ended.status == 1
    assert "mine: the module gives no tensor for examples of shape [4]: RuntimeError: " in ended.one_line
    assert "cannot be multiplied" in ended.one_line
    assert not (folder / "model-store").exists()


class Doubled(nn.Module):
    """Numbers of another kind."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.double()


class Paired(nn.Module):
    """Two tensors."""

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return values, values


class Joined(nn.Module):
    """One row for the whole batch."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.mean(0, keepdim=True)


class Refusing(nn.Module):
    """Never content."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if values.sum() < 1e9:
            raise ValueError("too small")
        return values


class Mixing(nn.Module):
    """Answers that depend on who else is in the batch."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.softmax(values - values.mean(0) * torch.ones(3).cumsum(0), dim=1)


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (Doubled(), "for 32 examples the module gives float64 [32, 3], not float32 [32, 3]"),
        (Joined(), "for 32 examples the module gives float32 [1, 3], not float32 [32, 3]"),
        (Paired(), "mine: the module gives no tensor for examples of shape [4]: "),
        (Refusing(), "too small"),
        (Mixing(), "TorchScript one by one and the module differ by up to"),
    ],
)
def test_answers_that_are_no_rows_of_their_examples_are_refused(
    folder: Path, last: nn.Module, says: str
) -> None:
    save_script(network(last).eval(), folder / "trained.pt")
    ended = package("trained.pt", "--signature", "signature.json")
    assert ended.status == 1
    assert says in ended.one_line
    assert not (folder / "model-store").exists()


def test_a_frozen_module_is_in_evaluation_mode_for_good(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        frozen = torch.jit.freeze(torch.jit.script(network().eval()))
        torch.jit.save(frozen, folder / "frozen.pt")
    _, module = read_torchscript(folder / "frozen.pt")
    assert module(torch.ones(2, 4)).shape == (2, 3)


@pytest.fixture
def files(folder: Path) -> Path:
    """One of each kind that cannot be used."""
    save_script(network().train(), folder / "training.pt")
    half_awake = network(nn.Dropout(), nn.Softmax(dim=1)).eval()
    half_awake[1].train()
    save_script(half_awake, folder / "part.pt")
    save_script(network().eval(), folder / "script.pt")
    torch.save(network(), folder / "module.pt")
    torch.save(network().state_dict(), folder / "weights.pt")
    torch.save({"epoch": 3}, folder / "numbers.pt")
    torch.save({0: torch.zeros(3)}, folder / "numbered.pt")
    (folder / "text.pt").write_text("no model")
    (folder / "empty.npy").touch()
    (folder / "odd.pt").write_bytes(b"]")
    (folder / "stub.pt").write_bytes(b"PK\x05\x06" + b"\xff" * 18)
    np.save(folder / "wide.npy", np.full((2, 5), 10, np.float32))
    np.save(folder / "none.npy", np.zeros((0, 4), np.float32))
    np.save(folder / "single.npy", np.float32(1))
    np.save(folder / "double.npy", np.zeros((2, 4)))
    np.save(folder / "nan.npy", np.full((2, 4), np.nan, np.float32))
    np.save(folder / "low.npy", np.full((2, 4), 9, np.float32))
    np.save(folder / "pickled.npy", np.array([{}], object))
    np.savez(folder / "two.npz", np.full((2, 4), 10, np.float32))
    return folder


BY_SIGNATURE, BY_DEFINITION = ("--signature", "signature.json"), ("--definition", "own.v2.py:OWN")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("training.pt", *BY_SIGNATURE), "call .eval() on the module"),
        (("part.pt", *BY_SIGNATURE), "part.pt was saved for training"),
        (("stub.pt", *BY_SIGNATURE), "stub.pt holds no TorchScript"),
        (("weights.pt", *BY_SIGNATURE), "holds no TorchScript (weights alone need the layers"),
        (("text.pt", *BY_SIGNATURE), "text.pt holds no TorchScript"),
        (("gone.pt", *BY_SIGNATURE), "gone.pt cannot be read: No such file"),
        ((".", *BY_SIGNATURE), "cannot be read: Is a directory"),
        (("script.pt", *BY_DEFINITION), "holds TorchScript, which needs no definition"),
        (("module.pt", *BY_DEFINITION), "would run code when it is read"),
        (("numbers.pt", *BY_DEFINITION), "holds a dict, not tensors by name"),
        (("numbered.pt", *BY_DEFINITION), "holds a dict, not tensors by name"),
        (("text.pt", *BY_DEFINITION), "text.pt holds no state_dict"),
        (("odd.pt", *BY_DEFINITION), "odd.pt holds no state_dict"),
        (("stub.pt", *BY_DEFINITION), "stub.pt holds no state_dict"),
        (("gone.pt", *BY_DEFINITION), "gone.pt cannot be read: No such file"),
        (("script.pt", "--signature", "gone.json"), "gone.json cannot be read: No such file"),
        (("weights.pt", "--definition", "gone.py:OWN"), "there is no file"),
        (("weights.pt", "--definition", "digit_mlp"), "lacks 'h1.weight'"),
        (("weights.pt",), "TorchScript needs --signature, weights need --definition"),
        (("weights.pt", *BY_DEFINITION, *BY_SIGNATURE), "TorchScript needs --signature"),
        (("script.pt", *BY_SIGNATURE, "--version", "0"), "versions are whole numbers"),
        (("script.pt", *BY_SIGNATURE, "--signing-key", "gone.key"), "gone.key cannot be read"),
        (("weights.pt", *BY_DEFINITION, "--signing-key", "text.pt"), "text.pt may be read by others"),
    ],
)
def test_what_cannot_be_packaged_is_exit_status_2_and_one_line(
    files: Path, arguments: tuple[str, ...], says: str
) -> None:
    ended = package(*arguments)
    assert ended.status == 2
    assert says in ended.one_line
    assert not (files / "model-store").exists()


@pytest.mark.parametrize(
    ("examples", "says"),
    [
        ("wide.npy", "wide.npy is float32 [2, 5]; accepted: float32 [n, 4], n from 1"),
        ("none.npy", "none.npy is float32 [0, 4]; accepted: float32 [n, 4], n from 1"),
        ("single.npy", "single.npy is float32 []; accepted: float32 [n, 4], n from 1"),
        ("double.npy", "double.npy is float64 [2, 4]; accepted: float32 [n, 4], n from 1"),
        ("nan.npy", "nan.npy runs from nan to nan; accepted: finite, from 10 to inf"),
        ("low.npy", "low.npy runs from 9 to 9; accepted: finite, from 10 to inf"),
        ("pickled.npy", "pickled.npy is no .npy file: "),
        ("empty.npy", "empty.npy is no .npy file: "),
        ("stub.pt", "stub.pt is no .npy file: "),
        ("text.pt", "text.pt is no .npy file: "),
        ("two.npz", "two.npz is no .npy file of one array"),
        ("gone.npy", "gone.npy cannot be read: No such file"),
    ],
)
def test_examples_that_the_model_does_not_take_are_refused(files: Path, examples: str, says: str) -> None:
    ended = package("script.pt", *BY_SIGNATURE, "--examples", examples)
    assert ended.status == 2
    assert says in ended.one_line
    assert not (files / "model-store").exists()


def test_a_module_of_other_shapes_than_its_definition_is_exit_status_1(files: Path) -> None:
    (files / "misfit.py").write_text(OWN.replace("nn.Linear(4, 3)", "nn.Linear(5, 3)"))
    ended = package("weights.pt", "--definition", "misfit.py:OWN")
    assert ended.status == 1
    assert "0 Linear expects 5 features, gets 4 from the input" in ended.one_line
    assert not (files / "model-store").exists()
