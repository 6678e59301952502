"""The targets: what is held against what, and the limit of the ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import evidence
from bench.evidence import Evidence
from bench.labels import (
    AIO,
    BATCH,
    CPP,
    FRONTS,
    GATEWAY,
    MANY_MODELS,
    NATIVE,
    ON_TORCHSERVE,
    ONE,
    OVERLOAD,
    SIXTEEN,
    SIXTY_FOUR,
    SLOW_OVERLOADS,
    STREAM,
)
from bench.peers import mosec, torchserve, triton

BUILD_SECONDS = 120.0
BUILD = "build-all"
GPU = "gpu-256"
GATEWAY_PREFIX = "gateway, "


@dataclass(frozen=True, slots=True)
class Target:
    """A limit of a ratio. name: by which its reason is found. at_most: the limit is an upper one.

    needs: labels without which it cannot be measured. pairs: what is divided; none where one figure is all
    that there is, which stands elsewhere.
    """

    name: str
    what: str
    limit: float
    needs: tuple[str, ...] = ()
    pairs: Evidence | None = None
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}"


def _of_each(name: str, what: str, limit: float, pairs: Sequence[Evidence], *, at_most: bool) -> list[Target]:
    """The same for both fronts."""
    return [
        Target(
            f"{kind}-{name}", f"{front.removeprefix(GATEWAY_PREFIX)}, {what}", limit, (front,), each, at_most
        )
        for (front, kind), each in zip(FRONTS.items(), pairs, strict=True)
    ]


PYTHON = [
    Target(
        "python-64",
        "Python front, 64 callers, throughput against empty grpc.aio",
        0.80,
        (GATEWAY,),
        evidence.rates(GATEWAY, SIXTY_FOUR, AIO),
    ),
    Target(
        "python-latency",
        "Python front, 1 caller, p50 against empty grpc.aio and the forward",
        1.35,
        (GATEWAY,),
        evidence.latency(GATEWAY, AIO),
        at_most=True,
    ),
    Target(
        "python-overload",
        "Python front, open loop at twice the peak, goodput against the peak",
        0.60,
        (GATEWAY,),
        evidence.rates(GATEWAY, OVERLOAD, GATEWAY, SIXTY_FOUR),
    ),
    Target(
        "python-overload-health",
        "Python front, open loop at twice the peak, the slowest health probe in seconds",
        1.0,
        (GATEWAY,),
        evidence.health(GATEWAY, OVERLOAD),
        at_most=True,
    ),
]
_BATCHED = (NATIVE, mosec.BATCHED)
_TRITON = (NATIVE, triton.LABEL)
NATIVES = [
    Target(
        "native-64",
        "native front, 64 callers, throughput against empty C++ gRPC",
        0.60,
        (NATIVE,),
        evidence.rates(NATIVE, SIXTY_FOUR, CPP),
    ),
    Target(
        "native-64-peer",
        "native front, 64 callers, against the quickest peer (stretch)",
        1.5,
        _BATCHED,
        evidence.Best((NATIVE,), SIXTY_FOUR),
    ),
    Target(
        "native-16-peer",
        "native front, 16 callers, against the quickest peer",
        1.6,
        _TRITON,
        evidence.Best((NATIVE,), SIXTEEN),
    ),
    Target(
        "native-16-peer-stretch",
        "native front, 16 callers, against the quickest peer (stretch)",
        2.0,
        _TRITON,
        evidence.Best((NATIVE,), SIXTEEN),
    ),
    Target(
        "native-1-peer",
        "native front, 1 caller, against the quickest peer",
        1.25,
        (NATIVE, mosec.SINGLE),
        evidence.Best((NATIVE,), ONE),
    ),
    Target(
        "native-latency",
        "native front, 1 caller, p50 against empty C++ gRPC and the forward",
        1.25,
        (NATIVE,),
        evidence.latency(NATIVE, CPP),
        at_most=True,
    ),
    Target(
        "native-256-peer",
        "native front, 256 examples in a request, against the quickest peer",
        2.0,
        _TRITON,
        evidence.Best((NATIVE,), BATCH),
    ),
    Target(
        "native-256",
        "native front, 256 examples in a request, against empty C++ gRPC and the forward",
        0.70,
        (NATIVE,),
        evidence.batch_rates(NATIVE, CPP),
    ),
]
BOTH = [
    *_of_each(
        "streams",
        "a stream with 16 in flight against 16 unary callers",
        1.5,
        [evidence.rates(front, STREAM, front, SIXTEEN) for front in FRONTS],
        at_most=False,
    ),
    *_of_each(
        "start",
        "first right answer against `import torch`, 1.3 times, and 0.5 s",
        1.0,
        [evidence.cold_start(front) for front in FRONTS],
        at_most=True,
    ),
    *_of_each(
        "memory",
        "memory against `import torch` + 60 MB",
        1.0,
        [evidence.memory(front) for front in FRONTS],
        at_most=True,
    ),
    Target(
        "further-models",
        "memory of each further small model against 2 MB",
        1.0,
        (),
        evidence.further_models,
        at_most=True,
    ),
    Target(
        "many-models",
        f"p50 of one caller with {MANY_MODELS} models loaded against with one",
        1.10,
        (),
        evidence.many_models(MANY_MODELS),
        at_most=True,
    ),
]
SLOW = [
    *(
        target
        for peaks in SLOW_OVERLOADS
        for target in _of_each(
            f"goodput-{peaks:g}",
            f"slow model, open loop at {peaks:g} times the peak, goodput against the peak",
            0.90,
            [evidence.goodput(front, peaks) for front in FRONTS],
            at_most=False,
        )
    ),
    *_of_each(
        "refusals",
        "slow model, p99 of refusals against 10 ms",
        1.0,
        [evidence.slow_refusals(front) for front in FRONTS],
        at_most=True,
    ),
    *_of_each(
        "slow-memory",
        "slow model, memory after ten times the peak, again and again, against after the first two times",
        1.05,
        [evidence.slow_memory(front) for front in FRONTS],
        at_most=True,
    ),
    *_of_each(
        "slow-health",
        "slow model, the slowest health probe in seconds",
        1.0,
        [evidence.slow_health(front) for front in FRONTS],
        at_most=True,
    ),
]
TORCHSERVES = [
    Target(
        "torchserve-64",
        "in front of TorchServe, 64 callers, one example each, against TorchServe alone in batches",
        1.0,
        (torchserve.HTTP, *list(ON_TORCHSERVE)[:1]),
        evidence.Best(tuple(ON_TORCHSERVE), SIXTY_FOUR, (torchserve.HTTP, torchserve.GRPC)),
    ),
    Target("through-raw", "through TorchServe, against the same raw request to it alone", 0.8),
    Target("through-json", "through TorchServe, against the same rows as JSON to it alone", 2.0),
    Target("through-single", "through TorchServe, against 256 requests of one example to it alone", 2.0),
]
GPUS = [
    Target(
        GPU,
        "on a GPU, from the staging buffer to probabilities on the host, batches of 256, against the forward",
        0.80,
        pairs=lambda of: list(of.gpu),
    )
]
BUILDING = [Target(BUILD, "`seqserve build --all`, seconds, measured once", BUILD_SECONDS, at_most=True)]

TARGETS: tuple[Target, ...] = (*PYTHON, *NATIVES, *BOTH, *SLOW, *TORCHSERVES, *GPUS, *BUILDING)
