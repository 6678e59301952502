"""Every TorchServe is warm before anything counts, and one that does not stand the load is left out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from bench.digit_servers import BEHIND_WARM_UP_SECONDS, WARM_UP_SECONDS, Servers, warm_up
from bench.generator import GeneratorFailed, Load
from bench.labels import GATEWAY, ON_TORCHSERVE
from bench.peers import mosec, torchserve
from bench.serving import Server
from bench.setting import Setting
from bench.store import MODEL

PYTHON_BEHIND, NATIVE_BEHIND = ON_TORCHSERVE


def servers_of(*labels: str) -> Servers:
    """Each with its label as its door, asked for one example and for 256."""
    made = {label: cast("Server", SimpleNamespace(doors={"raw": label})) for label in labels}
    return Servers({(label, (MODEL, size)): server for label, server in made.items() for size in (1, 256)})


def setting_of(loaded: dict[str, float], *, failing: str = "") -> Setting:
    """One whose generator notes for how long it loaded which door."""

    def run(door: str, load: Load, seconds: float) -> None:
        if door == failing:
            raise GeneratorFailed("UNAVAILABLE:\n it is away")
        loaded[door] = loaded.get(door, 0.0) + seconds

    given: Any = SimpleNamespace(generator=SimpleNamespace(run=run), say=lambda _: None)
    return cast("Setting", given)


def test_every_torchserve_is_loaded_once_and_one_behind_a_gateway_for_longer() -> None:
    loaded: dict[str, float] = {}

    warm_up(setting_of(loaded), servers_of(GATEWAY, mosec.BATCHED, torchserve.HTTP, PYTHON_BEHIND))

    assert loaded == {torchserve.HTTP: WARM_UP_SECONDS, PYTHON_BEHIND: BEHIND_WARM_UP_SECONDS}


def test_one_that_does_not_stand_it_is_left_out_with_the_reason_and_the_others_stay() -> None:
    loaded: dict[str, float] = {}
    servers = servers_of(torchserve.HTTP, PYTHON_BEHIND, NATIVE_BEHIND)

    warm_up(setting_of(loaded, failing=PYTHON_BEHIND), servers)

    assert servers.absent == {PYTHON_BEHIND: "UNAVAILABLE: it is away"}
    assert {label for label, _ in servers.there} == {torchserve.HTTP, NATIVE_BEHIND}
    assert NATIVE_BEHIND in loaded
