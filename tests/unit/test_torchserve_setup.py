"""What looks after a TorchServe is not lost unheard."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from seqserve.engines.torchserve.external import ExternalEngine
from seqserve.torchserve_setup import external_engine
from support.batching import settle
from support.gateway import settings_for_tests
from support.torchserve_world import FakePresence


@pytest.mark.parametrize("is_broken", [False, True])
async def test_a_watch_that_ends_with_a_fault_is_told_and_one_that_is_stopped_is_not(
    monkeypatch: pytest.MonkeyPatch, *, is_broken: bool
) -> None:
    fault = KeyError("a bug")

    async def broken(_: ExternalEngine) -> None:
        raise fault

    if is_broken:
        monkeypatch.setattr(ExternalEngine, "run", broken)
    settings = settings_for_tests(engine="torchserve", torchserve_address="127.0.0.1:1")
    with capture_logs() as logs:
        async with external_engine(settings, FakePresence()):
            await settle()

    told = [(entry["log_level"], entry["exc_info"]) for entry in logs if "looked after" in entry["event"]]
    assert told == ([("critical", fault)] if is_broken else [])
