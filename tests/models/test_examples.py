"""A data set that does not suit its model is refused; the refusal names field, what came, what is accepted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from seqserve_models.dataset import Dataset, hold_out
from seqserve_models.definition import ExampleShape, ModelDefinition
from seqserve_models.errors import DatasetBroken
from seqserve_models.examples import prepare
from seqserve_models.zoo import find_model

IMAGES, CLASSES = np.zeros((6, 28, 28), np.uint8), np.arange(6) % 10
GOOD = Dataset(IMAGES, CLASSES, IMAGES[:2], CLASSES[:2])
NOT_A_NUMBER = np.full((6, 28, 28), np.nan, np.float32)


def test_pixels_become_values_in_their_own_shape() -> None:
    pixels = replace(GOOD, train_inputs=np.full((6, 28, 28), 255, np.uint8))
    train, test = prepare(find_model("digit_mlp"), pixels)
    assert train.inputs.shape == (6, 28, 28)
    assert train.inputs.max() == 1
    assert (len(train), len(test)) == (6, 2)


@pytest.mark.parametrize("step", [1, -1])
def test_values_that_a_file_lends_are_neither_moved_nor_written_to(step: int) -> None:
    lent = np.linspace(0, 1, 6 * 784, dtype=np.float32).reshape(6, 784)[::step]
    lent.flags.writeable = False
    train, _ = prepare(find_model("digit_mlp"), replace(GOOD, train_inputs=lent))
    np.testing.assert_array_equal(train.inputs.numpy(), lent)
    train.inputs.zero_()
    assert lent.max() == 1


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64])
def test_classes_are_whole_numbers_of_any_size(kind: type[np.generic]) -> None:
    train, _ = prepare(find_model("digit_mlp"), replace(GOOD, train_targets=CLASSES.astype(kind)))
    assert train.targets.tolist() == list(range(6))
    assert train.targets.dtype == torch.int64


@pytest.mark.parametrize("shape", [(6, 784), (6, 1, 28, 28), (6, 28, 28, 1)])
def test_every_accepted_shape_of_the_same_numbers_fits(shape: tuple[int, ...]) -> None:
    train, _ = prepare(find_model("digit_mlp"), replace(GOOD, train_inputs=IMAGES.reshape(shape)))
    assert train.inputs.shape == shape


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train_inputs": IMAGES.astype(np.float64)}, "train_inputs is float64; accepted: float32, or uint8"),
        ({"train_inputs": IMAGES.astype(">f4")}, "train_inputs is >f4; accepted: float32"),
        ({"train_inputs": IMAGES.tolist()}, "train_inputs is of class list; accepted: a numpy array"),
        ({"train_inputs": torch.zeros(6, 784)}, "train_inputs is of class Tensor; accepted: a numpy array"),
        ({"train_inputs": np.zeros((), np.float32)}, "train_inputs is a single number; accepted: a numpy"),
        ({"test_targets": [0, 1]}, "test_targets is of class list; accepted: a numpy array"),
        ({"train_inputs": IMAGES[:0]}, "train_inputs is empty"),
        ({"test_inputs": IMAGES[:0], "test_targets": CLASSES[:0]}, "test_inputs is empty"),
        (
            {"test_inputs": IMAGES[:2, :27]},
            r"test_inputs has examples of shape \[27, 28\]; accepted: \[784\] or",
        ),
        ({"train_inputs": NOT_A_NUMBER}, "train_inputs has 4704 values that are not finite"),
        (
            {"train_inputs": IMAGES.astype(np.float32) - 1},
            "train_inputs runs from -1 to -1; accepted: 0 to 1",
        ),
        ({"train_inputs": IMAGES.astype(np.float32) + 3}, "runs from 3 to 3; accepted: 0 to 1"),
        ({"train_targets": CLASSES[:5]}, "train_targets has 5 rows, train_inputs has 6"),
        (
            {"train_targets": CLASSES.astype(np.float32)},
            "train_targets is float32 of shape .*; accepted: whole",
        ),
        (
            {"train_targets": CLASSES[:, np.newaxis]},
            r"of shape \[6, 1\]; accepted: whole numbers of shape \[6\]",
        ),
        ({"train_targets": CLASSES == 0}, r"train_targets is bool of shape \[6\]; accepted: whole numbers"),
        ({"train_targets": CLASSES + 5}, "train_targets runs from 5 to 10; accepted: 0 to 9"),
        ({"test_targets": CLASSES[:2] - 1}, "test_targets runs from -1 to 0; accepted: 0 to 9"),
    ],
)
def test_what_does_not_suit_a_classifier_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DatasetBroken, match=says):
        prepare(find_model("digit_mlp"), replace(GOOD, **change))


def test_values_of_255_are_asked_to_come_as_pixels() -> None:
    with pytest.raises(DatasetBroken) as caught:
        prepare(find_model("digit_mlp"), replace(GOOD, train_inputs=IMAGES.astype(np.float32) + 255))
    assert "uint8" in caught.value.hint


def in_colour() -> ModelDefinition:
    """Takes pictures of 4x5 in three colours, as CHW or HWC."""
    shapes = (ExampleShape((3, 4, 5), "CHW"), ExampleShape((4, 5, 3), "HWC"))
    return replace(find_model("digit_mlp"), input_shape=(3, 4, 5), example_shapes=shapes)


def test_axes_are_never_moved_silently() -> None:
    pictures = replace(GOOD, train_inputs=np.zeros((6, 3, 4, 5), np.uint8))
    pictures = replace(pictures, test_inputs=np.zeros((2, 3, 4, 5), np.uint8))
    assert len(prepare(in_colour(), pictures)[0]) == 6
    with pytest.raises(DatasetBroken, match=r"shape \[4, 5, 3\]; accepted: \[3, 4, 5\]$"):
        prepare(in_colour(), replace(pictures, train_inputs=np.zeros((6, 4, 5, 3), np.uint8)))


def test_pixels_are_for_pictures_alone() -> None:
    x = np.zeros((6, 1), np.uint8)
    with pytest.raises(DatasetBroken, match=r"train_inputs is uint8; accepted: float32$"):
        prepare(find_model("line"), Dataset(x, x, x, x))


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        (np.zeros(6, np.float32), r"float32 of shape \[6\]; accepted: float32 of shape \[6, 1\]"),
        (np.zeros((6, 1)), "is float64"),
        (np.zeros((5, 1), np.float32), "train_targets has 5 rows, train_inputs has 6"),
        (np.zeros((6, 1), np.int64), r"train_targets is int64 of shape \[6, 1\]; accepted: float32"),
        (np.full((6, 1), np.inf, np.float32), "has a value that is not finite"),
    ],
)
def test_targets_of_a_regression_are_values(targets: Any, says: str) -> None:
    x = np.zeros((6, 1), np.float32)
    with pytest.raises(DatasetBroken, match=says):
        prepare(find_model("line"), Dataset(x, targets, x, x))


def test_values_without_bounds_may_be_anything_finite_in_any_order() -> None:
    x = np.array([[-1e30], [0], [1e30]], np.float32)
    train, test = prepare(find_model("line"), Dataset(x, x[::-1], x[:, 0], x))
    assert train.targets.flatten().tolist() == x[::-1].flatten().tolist()
    assert test.inputs.shape == (3,)


def test_the_seed_holds_out_the_same_share_of_every_class() -> None:
    classes = np.repeat([0, 1, 2], [10, 20, 5])
    held_out = hold_out(classes, seed=1)
    assert np.bincount(classes[held_out]).tolist() == [2, 4, 1]
    np.testing.assert_array_equal(hold_out(classes, seed=1), held_out)
    assert (hold_out(classes, seed=2) != held_out).any()
