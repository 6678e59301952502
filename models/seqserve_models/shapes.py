"""Follows the shape of one example through an nn.Sequential, without numbers and without weights."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from seqserve_models.errors import LayerMisfit, LayerOpaque, ModelInvalid
from seqserve_models.expectations import (
    CONTAINERS,
    Shape,
    complaint_about,
    explain_container,
    is_shrinking,
)
from seqserve_models.foreign import first_line

# A size that layers rarely have, so that a lost or mixed batch shows; small, since an LSTM may loop over it.
BATCH = 61
INPUT = "the input"
# How torch refuses to read numbers from a tensor that has none.
NEEDS_NUMBERS = re.compile(r"\bmeta\b|register_meta")


@dataclass(frozen=True)
class LayerRow:
    """A layer that fits.

    name: qualified, such as `seq_2.0`. kind: name of its class. output: shape of one example behind it.
    parameters: count of numbers that are trained or frozen; shared ones count where they come first.
    """

    name: str
    kind: str
    output: Shape
    parameters: int


def follow(model: nn.Sequential, input_shape: Shape) -> tuple[LayerRow, ...]:
    """Hand an example of `input_shape` (without the batch) from layer to layer; one row for each.

    Nested nn.Sequential are entered; every other module is one layer. The model is left as it is.
    Raises LayerMisfit (with the rows before it), LayerOpaque, ModelInvalid.
    """
    walk = _Walk(torch.empty((BATCH, *input_shape), device="meta"))
    for name, layer in _leaves(without_weights(model)):
        walk.step(name, layer)
    if not walk.rows:
        raise ModelInvalid("the nn.Sequential has no layers")
    return tuple(walk.rows)


def without_weights(model: nn.Sequential) -> nn.Sequential:
    """A copy in evaluation mode whose tensors have shapes and no numbers. Raises ModelInvalid."""
    owned = [value for module in model.modules() for value in vars(module).values()]
    tensors = [*model.parameters(), *model.buffers(), *(t for t in owned if isinstance(t, torch.Tensor))]
    memo = {id(tensor): _shape_only(tensor) for tensor in tensors}
    try:
        copied = copy.deepcopy(model, memo)
    except Exception as error:  # any layer may have a copy of its own making
        raise ModelInvalid(f"the model cannot be copied: {first_line(error)}") from error
    return copied.eval()


def _shape_only(tensor: torch.Tensor) -> torch.Tensor:
    on_meta: Any = {"device": "meta", "dtype": tensor.dtype}  # torch's stubs do not know these two
    if isinstance(tensor, nn.UninitializedParameter):  # of a lazy layer, which sizes itself in the walk
        return nn.UninitializedParameter(**on_meta)
    if isinstance(tensor, nn.UninitializedBuffer):
        return nn.UninitializedBuffer(**on_meta)
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty


def _leaves(model: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    if type(model).forward is not nn.Sequential.forward:  # its order is its own
        yield prefix.rstrip(".") or "the model", model
        return
    # named_children() would leave out a layer's second use.
    for name, layer in model.named_modules(remove_duplicate=False):
        if not name or "." in name:
            continue
        if isinstance(layer, nn.Sequential):
            yield from _leaves(layer, f"{prefix}{name}.")
        else:
            yield prefix + name, layer


class _Walk:
    """Where an example is, how it got there, and which parameters were counted."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values
        self.source = INPUT
        self.rows: list[LayerRow] = []
        self.counted: set[int] = set()

    @property
    def shape(self) -> Shape:
        """Of one example."""
        return tuple(self.values.shape[1:])

    def step(self, name: str, layer: nn.Module) -> None:
        """Through one more layer."""
        kind = type(layer).__name__
        if isinstance(layer, CONTAINERS):
            raise self._misfit(f"{name} {explain_container(layer)}")
        complaint = complaint_about(layer, self.shape)
        if complaint:
            text = f"{name} {kind} expects {complaint.expects}, gets {complaint.gets} from {self.source}"
            raise self._misfit(text, hint=complaint.hint)
        self.values = self._checked(f"{name} {kind}", self._call(f"{name} {kind}", layer))
        self.rows.append(LayerRow(name, kind, self.shape, self._count(layer)))
        self.source = name

    def _call(self, title: str, layer: nn.Module) -> object:
        try:
            with torch.no_grad(), torch.device("meta"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return layer(self.values)
        except Exception as error:
            line = first_line(error)
            if is_shrinking(layer, line):
                raise self._misfit(self._nothing_left(title)) from error
            if NEEDS_NUMBERS.search(line):
                raise LayerOpaque(
                    f"{title} cannot be followed by shapes alone: {line}", rows=tuple(self.rows)
                ) from error
            raise self._misfit(f"{title} does not take {[*self.shape]} from {self.source}: {line}") from error

    def _checked(self, title: str, output: object) -> torch.Tensor:
        if not isinstance(output, torch.Tensor):
            raise self._misfit(
                f"{title} gives a {type(output).__name__}, and nn.Sequential hands one tensor on",
                hint="wrap it in a module that returns the tensor alone",
            )
        if output.shape[:1] != (BATCH,):
            raise self._misfit(
                f"{title} does not keep the batch in front: it mixes or drops the examples of "
                f"{[*self.shape]} from {self.source}"
            )
        if not output.numel():
            raise self._misfit(self._nothing_left(title))
        return output

    def _nothing_left(self, title: str) -> str:
        return f"{title} shrinks {[*self.shape]} from {self.source} to nothing"

    def _misfit(self, text: str, hint: str = "") -> LayerMisfit:
        return LayerMisfit(text, hint=hint, rows=tuple(self.rows))

    def _count(self, layer: nn.Module) -> int:
        fresh = [p for p in layer.parameters() if id(p) not in self.counted]
        self.counted.update(map(id, fresh))
        return sum(parameter.numel() for parameter in fresh)
