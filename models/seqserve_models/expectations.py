"""What the usual layers expect of an example's shape, in words that torch's own errors lack.

Shapes here are of one example: the batch, axis 0 of the tensor, is left out. torch reads a missing axis
as a missing batch, so that ranks are checked here and not left to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

Shape = tuple[int, ...]
SPATIAL = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
CONVOLUTIONS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.LPPool1d, nn.LPPool2d, nn.LPPool3d),
)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
SOFTMAXES = (nn.Softmax, nn.LogSoftmax, nn.Softmin)
CONTAINERS = (nn.ModuleList, nn.ModuleDict)
# How torch says that a window is larger than what it should slide over.
TOO_SMALL = ("utput size", "than kernel size", "greater than actual input size")


class Complaint(NamedTuple):
    """What a layer wants, what it gets instead, and what to do about it (may be empty)."""

    expects: str
    gets: str
    hint: str = ""


def complaint_about(layer: nn.Module, shape: Shape) -> Complaint | None:
    """Why a layer does not take an example of this shape; None where nothing is known against it."""
    is_torchs_own = type(layer).forward.__module__.startswith("torch.")
    if not is_torchs_own or _sizes_itself(layer):
        return None
    return next((check(layer, shape) for classes, check in CHECKS if isinstance(layer, classes)), None)


def explain_container(layer: nn.Module) -> str:
    """Why a ModuleList or ModuleDict is no layer, and what to write instead."""
    kind = type(layer).__name__
    layers = "*layers" if isinstance(layer, nn.ModuleList) else "OrderedDict(layers)"
    return (
        f"{kind} has no forward: it only holds layers, while nn.Sequential also calls them one after "
        f"the other; write nn.Sequential({layers})"
    )


def is_shrinking(layer: nn.Module, message: str) -> bool:
    """Whether torch's message says that nothing is left behind a window that slides."""
    return isinstance(layer, CONVOLUTIONS + POOLS) and any(part in message for part in TOO_SMALL)


def _sizes_itself(layer: nn.Module) -> bool:
    return isinstance(layer, LazyModuleMixin) and layer.has_uninitialized_params()


def _linear(layer: Any, shape: Shape) -> Complaint | None:
    wanted = int(layer.in_features)
    if shape and shape[-1] == wanted:
        return None
    is_flat = len(shape) > 1 and math.prod(shape) == wanted
    hint = f"nn.Flatten() before it makes {wanted} features of {list(shape)}" if is_flat else ""
    return Complaint(f"{wanted} features", str(shape[-1]) if shape else "no axis of features", hint)


def _convolution(layer: Any, shape: Shape) -> Complaint | None:
    wanted = int(layer.in_channels)
    hint = f"nn.Unflatten(1, (1, {shape[0]})) before it adds an axis of 1 channel" if shape else ""
    return _ranks(layer, shape, hint) or _channels(wanted, shape)


def _pool(layer: Any, shape: Shape) -> Complaint | None:
    return _ranks(layer, shape)


def _batch_norm(layer: Any, shape: Shape) -> Complaint | None:
    is_flat = isinstance(layer, nn.BatchNorm1d) and len(shape) == 1
    return (None if is_flat else _ranks(layer, shape)) or _channels(int(layer.num_features), shape)


def _instance_norm(layer: Any, shape: Shape) -> Complaint | None:
    has_sizes = layer.affine or layer.track_running_stats
    return _ranks(layer, shape) or (_channels(int(layer.num_features), shape) if has_sizes else None)


def _group_norm(layer: Any, shape: Shape) -> Complaint | None:
    return _channels(int(layer.num_channels), shape)


def _layer_norm(layer: Any, shape: Shape) -> Complaint | None:
    wanted = list(layer.normalized_shape)
    if list(shape[-len(wanted) :]) == wanted:
        return None
    return Complaint(f"examples that end in {wanted}", str(list(shape)))


def _flatten(layer: Any, shape: Shape) -> Complaint | None:
    rank = len(shape) + 1
    first, last = int(layer.start_dim), int(layer.end_dim)
    if not (-rank <= first < rank and -rank <= last < rank):
        return Complaint(f"axes {first} to {last} (axis 0 is the batch)", str(list(shape)))
    if first % rank == 0 and last % rank > 0:
        expects = f"to join axes {first} to {last}, and axis 0 is the batch, so that it mixes the examples"
        return Complaint(expects, str(list(shape)), "nn.Flatten() leaves the batch alone")
    return None


def _softmax(layer: Any, shape: Shape) -> Complaint | None:
    rank, axis = len(shape) + 1, layer.dim
    if not isinstance(axis, int) or (-rank <= axis < rank and axis % rank > 0):
        return None
    meaning = "which is the batch" if -rank <= axis < rank else "which is not there"
    return Complaint(f"its values along dim={axis}, {meaning}", str(list(shape)), "dim=-1 is the last axis")


def _ranks(layer: Any, shape: Shape, hint_if_one_short: str = "") -> Complaint | None:
    axes = _axes(layer)
    if len(shape) == len(axes):
        return None
    hint = hint_if_one_short if len(shape) == len(axes) - 1 else ""
    return Complaint(f"examples of {len(axes)} axes ({', '.join(axes)})", str(list(shape)), hint)


def _axes(layer: nn.Module) -> tuple[str, ...]:
    """Names of an example's axes: `Conv2d` says in its class how many follow the channels."""
    spatial = next(
        int(kind.__name__[-2])
        for kind in type(layer).__mro__
        if kind in CONVOLUTIONS + POOLS + BATCH_NORMS + INSTANCE_NORMS
    )
    return ("channels", *SPATIAL[spatial])


def _channels(wanted: int, shape: Shape) -> Complaint | None:
    if shape and shape[0] == wanted:
        return None
    is_last = len(shape) > 1 and shape[-1] == wanted
    hint = f"channels come first: {[wanted, *shape[:-1]]} instead of {list(shape)}" if is_last else ""
    expects = f"{wanted} channel" if wanted == 1 else f"{wanted} channels"
    return Complaint(expects, str(shape[0]) if shape else "none", hint)


CHECKS: tuple[tuple[tuple[type, ...], Callable[[Any, Shape], Complaint | None]], ...] = (
    ((nn.Linear,), _linear),
    (CONVOLUTIONS, _convolution),
    (POOLS, _pool),
    (BATCH_NORMS, _batch_norm),
    (INSTANCE_NORMS, _instance_norm),
    ((nn.GroupNorm,), _group_norm),
    ((nn.LayerNorm,), _layer_norm),
    ((nn.Flatten,), _flatten),
    (SOFTMAXES, _softmax),
)
