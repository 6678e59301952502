"""What is measured, and under which loads: the names of tables, plots and targets."""

from __future__ import annotations

from collections.abc import Mapping

from bench.generator import Load
from bench.peers import mosec, torchserve, triton
from bench.serving import Front

GATEWAY = "gateway, Python front"
NATIVE = "gateway, native front"
AIO = "empty grpc.aio"
CPP = "empty C++ gRPC"
FRONTS: Mapping[str, Front] = {GATEWAY: "python", NATIVE: "native"}
ON_TORCHSERVE: Mapping[str, str] = {
    "gateway on TorchServe, Python front": GATEWAY,
    "gateway on TorchServe, native front": NATIVE,
}
"""The gateway in front of a TorchServe, by the front that it has."""

PEERS = (
    *(mosec.BATCHED, mosec.SINGLE, triton.LABEL),
    *(torchserve.HTTP, torchserve.GRPC, torchserve.SINGLE),
)

ONE = Load("1 caller")
SIXTEEN = Load("16 callers", callers=16)
SIXTY_FOUR = Load("64 callers", callers=64)
MANY_CALLERS = Load("256 callers", callers=256)
BY_CALLERS = (ONE, SIXTEEN, SIXTY_FOUR, MANY_CALLERS)
STREAM = Load("stream, 16 in flight", in_flight=16)
BATCH = Load("256 examples, 1 caller", examples=256)
OVERLOAD = Load("open loop, twice the peak")
JSON_ONE = Load("1 caller, JSON over HTTP", written="json")
JSON_MANY = Load("64 callers, JSON over HTTP", callers=64, written="json")

SLOW = "slow"
SLOW_PEAK = Load("slow model, 64 callers", callers=64, model=SLOW)
SLOW_OVERLOADS: Mapping[float, Load] = {
    peaks: Load(f"slow model, open loop, {peaks:g} times the peak", model=SLOW) for peaks in (2.0, 5.0, 10.0)
}

MANY_MODELS = 100


def with_models(front: str, count: int) -> str:
    """A gateway that has loaded so many models."""
    return f"{front}, {count} model{'s' if count > 1 else ''}"
