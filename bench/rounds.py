"""The trials of `digit_mlp`, part by part; servers that are not there are left out of them."""

from __future__ import annotations

from collections.abc import Iterable

from bench.generator import Load
from bench.labels import (
    AIO,
    BATCH,
    CPP,
    FRONTS,
    GATEWAY,
    JSON_MANY,
    JSON_ONE,
    MANY_CALLERS,
    MANY_MODELS,
    NATIVE,
    ON_TORCHSERVE,
    ONE,
    OVERLOAD,
    PEERS,
    SIXTEEN,
    SIXTY_FOUR,
    SLOW_OVERLOADS,
    SLOW_PEAK,
    STREAM,
    with_models,
)
from bench.peers import torchserve
from bench.trials import Point, Round

EMPTY = (AIO, CPP)


def _points(fronts: Iterable[str], *loads: Load) -> list[Point]:
    return [Point(front, load) for front in fronts for load in loads]


def _overload(front: str) -> Point:
    return Point(front, OVERLOAD, 2.0, SIXTY_FOUR)


ROUNDS = {
    "1": Round(_points([*FRONTS, *EMPTY, *PEERS], ONE)),
    "16": Round(_points(FRONTS, SIXTEEN, STREAM) + _points(PEERS, SIXTEEN), _points(EMPTY, SIXTEEN, STREAM)),
    "64": Round(
        [*_points([*FRONTS, *EMPTY, *ON_TORCHSERVE, *PEERS], SIXTY_FOUR), _overload(GATEWAY)],
        [_overload(NATIVE)],
    ),
    "256": Round(_points([NATIVE, CPP, *PEERS], BATCH), _points([GATEWAY, AIO], BATCH)),
    "callers": Round([], _points([*FRONTS, *EMPTY, *PEERS], MANY_CALLERS)),
    "json": Round([], _points([*FRONTS, torchserve.HTTP, torchserve.SINGLE], JSON_ONE, JSON_MANY)),
}
"""By the callers, or by the examples in a request."""

SLOW_ROUND = Round(
    [
        point
        for front in FRONTS
        for point in (
            Point(front, SLOW_PEAK),
            *(Point(front, load, peaks, SLOW_PEAK) for peaks, load in SLOW_OVERLOADS.items()),
        )
    ]
)
MODELS_ROUND = Round(
    [Point(with_models(front, count), ONE) for front in FRONTS for count in (1, MANY_MODELS)]
)
