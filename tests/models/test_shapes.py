"""An example's shape followed through an nn.Sequential: what fits, and the words for what does not."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from seqserve_models.errors import LayerMisfit, LayerOpaque, ModelInvalid
from seqserve_models.shapes import LayerRow, follow


class Elsewhere(nn.Module):
    """A layer of someone else's: adds a tensor that is no buffer, and one made on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.ones(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.shift + torch.zeros(4)


class Gate(nn.Module):
    """A layer that looks at numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Flattening(nn.Linear):
    """A Linear that expects something else than a Linear does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flatten(1))


class Backwards(nn.Sequential):
    """A Sequential with an order of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in reversed(self):
            x = layer(x)
        return x


def nested(last: int = 5) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            seq_1=nn.Sequential(nn.Linear(100, 25), nn.ReLU(), nn.Linear(25, 5)),
            seq_2=nn.Sequential(nn.Linear(last, 10), nn.Softmax(dim=1)),
        )
    )


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 8, 3),
            norm=nn.BatchNorm2d(8),
            pool=nn.MaxPool2d(2),
            flat=nn.Flatten(),
            out=nn.Linear(8 * 3 * 3, 2),
        )
    )


def misfit(*layers: nn.Module, shape: tuple[int, ...]) -> LayerMisfit:
    with pytest.raises(LayerMisfit) as caught:
        follow(nn.Sequential(*layers), shape)
    return caught.value


def test_a_nested_model_is_walked_leaf_by_leaf() -> None:
    assert follow(nested(), (100,)) == (
        LayerRow("seq_1.0", "Linear", (25,), 2525),
        LayerRow("seq_1.1", "ReLU", (25,), 0),
        LayerRow("seq_1.2", "Linear", (5,), 130),
        LayerRow("seq_2.0", "Linear", (10,), 60),
        LayerRow("seq_2.1", "Softmax", (10,), 0),
    )


def test_the_first_layer_that_does_not_fit_is_named_with_where_its_input_comes_from() -> None:
    with pytest.raises(LayerMisfit) as caught:
        follow(nested(last=25), (100,))

    assert str(caught.value) == "seq_2.0 Linear expects 25 features, gets 5 from seq_1.2"
    assert [row.name for row in caught.value.rows] == ["seq_1.0", "seq_1.1", "seq_1.2"]


def test_the_shapes_are_those_that_the_model_gives() -> None:
    model = convolutional().eval()
    *_, last = follow(model, (3, 8, 8))

    assert last.output == tuple(model(torch.zeros(2, 3, 8, 8)).shape[1:])


def test_the_model_is_left_as_it_is() -> None:
    model = convolutional().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    follow(model, (3, 8, 8))

    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_model_too_large_for_any_machine_is_followed() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(2**24, 2**24))

    assert follow(model, (2**24,))[0].parameters == 2**48 + 2**24


def test_a_layer_used_twice_has_two_rows_and_its_parameters_count_once() -> None:
    layer = nn.Linear(4, 4)
    rows = follow(nn.Sequential(layer, nn.ReLU(), layer), (4,))

    assert [(row.name, row.parameters) for row in rows] == [("0", 20), ("1", 0), ("2", 0)]


@pytest.mark.parametrize(
    "layer",
    [Elsewhere(), Flattening(4, 2), nn.Identity(), nn.InstanceNorm1d(3)],
    ids=lambda x: type(x).__name__,
)
def test_what_works_is_no_misfit_whatever_the_sizes_in_the_layer(layer: nn.Module) -> None:
    shape = (4,) if isinstance(layer, Elsewhere) else (2, 2)

    assert follow(nn.Sequential(layer), shape)[0].kind == type(layer).__name__


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_layer_takes_its_size_from_what_comes_and_stays_lazy() -> None:
    layer = nn.LazyLinear(3)

    assert follow(nn.Sequential(layer), (4,)) == (LayerRow("0", "LazyLinear", (3,), 15),)
    assert layer.has_uninitialized_params()


def test_a_sequential_with_a_forward_of_its_own_is_one_layer() -> None:
    model = nn.Sequential(Backwards(nn.Linear(5, 2), nn.Linear(4, 5)))

    assert follow(model, (4,)) == (LayerRow("0", "Backwards", (2,), 37),)
    assert follow(Backwards(nn.Linear(5, 2), nn.Linear(4, 5)), (4,))[0].name == "the model"


@pytest.mark.parametrize(
    ("layer", "shape", "says"),
    [
        (nn.Linear(784, 2), (28, 28), "0 Linear expects 784 features, gets 28 from the input"),
        (nn.Conv2d(3, 4, 3), (1, 28, 28), "0 Conv2d expects 3 channels, gets 1 from the input"),
        (nn.ConvTranspose2d(3, 4, 3), (4, 5, 5), "expects 3 channels, gets 4 from the input"),
        (
            nn.Conv2d(1, 4, 3),
            (28, 28),
            "0 Conv2d expects examples of 3 axes (channels, height, width), gets [28, 28] from the input",
        ),
        (nn.Conv1d(1, 4, 3), (28,), "2 axes (channels, length), gets [28] from"),
        (nn.MaxPool2d(2), (28, 28), "0 MaxPool2d expects examples of 3 axes"),
        (nn.AdaptiveAvgPool2d(1), (784,), "0 AdaptiveAvgPool2d expects examples of 3 axes"),
        (nn.AvgPool3d(2), (1, 4, 4), "4 axes (channels, depth, height, width), gets [1, 4, 4]"),
        (nn.BatchNorm1d(5), (6,), "0 BatchNorm1d expects 5 channels, gets 6 from the input"),
        (nn.BatchNorm1d(5), (6, 7), "expects 5 channels, gets 6"),
        (nn.BatchNorm2d(5), (5,), "expects examples of 3 axes"),
        (nn.InstanceNorm2d(3, affine=True), (4, 5, 5), "expects 3 channels, gets 4"),
        (nn.GroupNorm(2, 4), (6, 3), "0 GroupNorm expects 4 channels, gets 6 from the input"),
        (nn.LayerNorm(5), (6,), "0 LayerNorm expects examples that end in [5], gets [6] from the input"),
        (nn.Flatten(2), (784,), "expects axes 2 to -1 (axis 0 is the batch), gets [784]"),
        (nn.Flatten(0), (28, 28), "axis 0 is the batch, so that it mixes the examples"),
        (nn.Softmax(dim=0), (10,), "dim=0, which is the batch"),
        (nn.Softmax(dim=2), (10,), "dim=2, which is not there"),
        (nn.MaxPool1d(4), (2, 2), "0 MaxPool1d shrinks [2, 2] from the input to nothing"),
        (nn.MaxPool2d(2), (3, 1, 1), "0 MaxPool2d shrinks [3, 1, 1] from the input to nothing"),
        (nn.MaxPool3d(4), (1, 2, 2, 2), "0 MaxPool3d shrinks [1, 2, 2, 2] from the input to nothing"),
        (nn.AvgPool2d(3), (3, 2, 2), "0 AvgPool2d shrinks [3, 2, 2] from the input to nothing"),
        (nn.Conv2d(3, 4, 3), (3, 2, 2), "0 Conv2d shrinks [3, 2, 2] from the input to nothing"),
        (nn.AdaptiveAvgPool2d(0), (3, 2, 2), "0 AdaptiveAvgPool2d shrinks [3, 2, 2] from"),
        (nn.Unflatten(1, (2, 3)), (7,), "0 Unflatten does not take [7] from the input: unflatten: Provided"),
        (nn.Unflatten(0, (1, -1)), (7,), "0 Unflatten does not keep the batch in front"),
        (nn.Bilinear(2, 3, 4), (2,), "0 Bilinear does not take [2] from the input: Bilinear.forward() missing"),
        (nn.LSTM(3, 4), (5, 3), "0 LSTM gives a tuple, and nn.Sequential hands one tensor on"),
        (nn.ModuleList([nn.ReLU()]), (4,), "0 ModuleList has no forward: it only holds layers"),
        (nn.ModuleDict({"a": nn.ReLU()}), (4,), "write nn.Sequential(OrderedDict(layers))"),
    ],
)  # fmt: skip
def test_a_misfit_is_told_in_words(layer: nn.Module, shape: tuple[int, ...], says: str) -> None:
    error = misfit(layer, shape=shape)

    assert says in str(error)
    assert "\n" not in str(error)
    assert error.rows == ()


@pytest.mark.parametrize(
    ("layer", "shape", "hint"),
    [
        (nn.Linear(784, 2), (28, 28), "nn.Flatten() before it makes 784 features of [28, 28]"),
        (nn.Linear(784, 2), (7, 7), ""),
        (nn.Conv2d(1, 4, 3), (28, 28), "nn.Unflatten(1, (1, 28)) before it adds an axis of 1 channel"),
        (nn.Conv2d(3, 4, 3), (28, 28, 3), "channels come first: [3, 28, 28] instead of [28, 28, 3]"),
        (nn.GRU(3, 4), (5, 3), "wrap it in a module that returns the tensor alone"),
    ],
)
def test_a_misfit_with_a_usual_remedy_names_it(layer: nn.Module, shape: tuple[int, ...], hint: str) -> None:
    assert misfit(layer, shape=shape).hint == hint


@pytest.mark.parametrize("hint", ["Flatten", "Unflatten"])
def test_the_remedies_work(hint: str) -> None:
    models: dict[str, Any] = {
        "Flatten": nn.Sequential(nn.Flatten(), nn.Linear(784, 2)),
        "Unflatten": nn.Sequential(nn.Unflatten(1, (1, 28)), nn.Conv2d(1, 4, 3)),
    }

    assert len(follow(models[hint], (28, 28))) == 2


def test_a_layer_that_looks_at_numbers_is_not_called_a_misfit() -> None:
    with pytest.raises(LayerOpaque, match="1 Gate cannot be followed by shapes alone") as caught:
        follow(nn.Sequential(nn.ReLU(), Gate()), (4,))

    assert [row.name for row in caught.value.rows] == ["0"]


def test_a_model_without_layers_is_invalid() -> None:
    with pytest.raises(ModelInvalid, match="no layers"):
        follow(nn.Sequential(), (4,))


def test_a_model_that_cannot_be_copied_is_invalid() -> None:
    layer = nn.ReLU()
    vars(layer)["lock"] = threading.Lock()
    model = nn.Sequential(layer)

    with pytest.raises(ModelInvalid, match="cannot be copied: cannot pickle"):
        follow(model, (4,))
