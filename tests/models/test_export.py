"""TorchScript and the module it was made of."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from seqserve_models.errors import ExportDiffers, ExportFailed
from seqserve_models.evaluate import infer
from seqserve_models.export import export, load
from seqserve_models.train import initialise
from seqserve_models.verify import largest_difference, verify
from seqserve_models.zoo.digit_mlp import DIGIT_MLP

INPUTS = np.random.default_rng(0).random((300, 784), np.float32)


@pytest.fixture(scope="module")
def module() -> nn.Sequential:
    return initialise(DIGIT_MLP, seed=0).eval()


@pytest.fixture(scope="module")
def script(module: nn.Sequential) -> bytes:
    return export(module, "digit_mlp")


def test_torchscript_agrees_with_the_module_in_batches_and_one_by_one(
    module: nn.Sequential, script: bytes
) -> None:
    expected = infer(module, INPUTS, batch_size=256)
    for batch_size in (1, 7, 256):
        np.testing.assert_allclose(
            infer(load(script), INPUTS, batch_size=batch_size), expected, rtol=1e-5, atol=1e-5
        )
    assert verify(script, DIGIT_MLP, INPUTS, expected) < 1e-5


@pytest.mark.usefixtures("real_interpreters")  # which shows as well that a fork is as fresh as these
def test_two_exports_from_two_folders_are_equal(
    module: nn.Sequential, script: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONHASHSEED", "3")
    assert export(module, "digit_mlp") == script


def test_an_export_holds_no_path_and_nothing_random(script: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(script)) as archive:
        names = archive.namelist()
    assert names == sorted(names)
    assert "digit_mlp/data.pkl" in names
    assert not [name for name in names if name.endswith(("debug_pkl", "serialization_id"))]


def test_a_module_stays_trainable_after_its_export(module: nn.Sequential, script: bytes) -> None:
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_other_weights_are_noticed(script: bytes) -> None:
    other = initialise(DIGIT_MLP, seed=1).eval()
    with pytest.raises(ExportDiffers, match="TorchScript and the module differ by up to"):
        verify(script, DIGIT_MLP, INPUTS, infer(other, INPUTS, batch_size=256))


def test_an_output_of_another_shape_is_noticed(module: nn.Sequential, script: bytes) -> None:
    wrong = replace(DIGIT_MLP, output_shape=(11,))
    with pytest.raises(ExportDiffers, match=r"shape \(10,\), expected \(11,\)"):
        verify(script, wrong, INPUTS, infer(module, INPUTS, batch_size=256))


def test_logits_are_no_probabilities(module: nn.Sequential) -> None:
    script = export(module[:-1], "digit_mlp")
    with pytest.raises(ExportDiffers, match="a probability is -"):
        verify(script, DIGIT_MLP, INPUTS, infer(module, INPUTS, batch_size=256))


def test_positive_outputs_that_do_not_sum_to_1_are_no_probabilities(module: nn.Sequential) -> None:
    script = export(nn.Sequential(*list(module)[:-1], nn.Sigmoid()), "digit_mlp")
    with pytest.raises(ExportDiffers, match="the sum of the probabilities and 1 differ"):
        verify(script, DIGIT_MLP, INPUTS, infer(module, INPUTS, batch_size=256))


def test_an_output_that_is_not_finite_is_noticed(module: nn.Sequential, script: bytes) -> None:
    inputs = np.full((1, 784), np.nan, np.float32)
    with pytest.raises(ExportDiffers, match="not finite"):
        verify(script, DIGIT_MLP, inputs, infer(module, inputs, batch_size=1))


def test_a_difference_that_is_no_number_never_agrees() -> None:
    nothing, ones = np.full(3, np.nan, np.float32), np.ones(3, np.float32)
    with pytest.raises(ExportDiffers):
        largest_difference(ones, nothing, "these")


@pytest.mark.usefixtures("real_interpreters")
def test_a_module_that_cannot_be_scripted_is_an_error_with_the_reason() -> None:
    with pytest.raises(ExportFailed, match="variable number of arguments"):
        export(nn.Sequential(nn.Module()), "digit_mlp")
