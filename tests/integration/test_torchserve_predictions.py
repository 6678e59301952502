"""The channel to a played TorchServe: tokens, several targets after each other, and calls that get lost."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from seqserve.engines.base import batch_headers
from seqserve.engines.timing import Time
from seqserve.engines.torchserve.management import Management
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.tokens import KeyFile, NoTokens, TokenFile
from seqserve.engines.torchserve.wire import request_of
from seqserve.errors import EngineUnavailable
from support.tcp_relay import relay_to
from support.torchserve import AT_ONCE, BATCH, ROWS, TINY, FakeInference, Keys, archive, serving
from support.torchserve_world import World, running_world

REQUEST = request_of(TINY, BATCH)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as running:
        yield running


# ---- what goes along ----


async def test_the_trace_of_a_batch_goes_with_each_of_its_parts(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    await model.infer(BATCH)
    token = batch_headers.set((("traceparent", TRACEPARENT),))
    try:
        assert np.array_equal(await model.infer(BATCH), ROWS)
    finally:
        batch_headers.reset(token)

    went = [metadata.get("traceparent") for metadata in world.inference.metadata]
    assert went[-1] == TRACEPARENT
    assert set(went[:-1]) == {None}
    assert all("authorization" in metadata for metadata in world.inference.metadata)


# ---- tokens ----


async def test_a_renewed_token_is_read_from_the_file(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.keys.renew("inference")
    world.keys.write()

    assert np.array_equal(await model.infer(BATCH), ROWS)
    assert not world.presence.away


def written_after(seconds: float, keys: Keys, pauses: list[float]) -> Time:
    """Time that passes at once, until the file is written."""

    async def pause(pause_seconds: float) -> None:
        before = sum(pauses)
        pauses.append(pause_seconds)
        if before < seconds <= sum(pauses):
            keys.write()

    return Time(sleep=pause)


@pytest.mark.parametrize("late_seconds", [0.1, 1.5])
async def test_a_token_that_counts_before_its_file_is_written_is_waited_for(
    tmp_path: Path, late_seconds: float
) -> None:
    keys, pauses = Keys(tmp_path / "key_file.json"), list[float]()
    async with serving(FakeInference(token=lambda: keys.of("inference"))) as port:
        predictions = Predictions(KeyFile(keys.path), time=written_after(late_seconds, keys, pauses))
        predictions.connect(f"127.0.0.1:{port}")
        await predictions.predict(REQUEST)
        assert pauses == []
        keys.renew("inference")
        await predictions.predict(REQUEST)
        await predictions.aclose()

    assert late_seconds <= sum(pauses) < late_seconds + 1


@pytest.mark.parametrize("late_seconds", [0.1, 1.5])
async def test_a_management_token_whose_file_comes_late_is_waited_for(
    world: World, late_seconds: float
) -> None:
    pauses = list[float]()
    management = Management(
        world.endpoint,
        httpx.MockTransport(world.management),
        time=written_after(late_seconds, world.keys, pauses),
    )
    assert await management.models() == {}
    world.keys.renew("management")
    assert await management.models() == {}
    await management.aclose()

    assert late_seconds <= sum(pauses) < late_seconds + 1


async def test_tokens_that_stay_wrong_are_an_outage(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "key_file.json")
    inference = FakeInference(token=lambda: "another")
    async with serving(inference) as port:
        predictions = Predictions(KeyFile(keys.path), time=AT_ONCE)
        predictions.connect(f"127.0.0.1:{port}")
        with pytest.raises(EngineUnavailable, match="could not run"):
            await predictions.predict(REQUEST)
        with pytest.raises(EngineUnavailable, match="Token Authorization failed"):
            await predictions.ping(5.0)
        await predictions.aclose()

    assert inference.requests == []


@pytest.mark.parametrize("is_bare", [False, True])
async def test_a_token_that_an_operator_renews_is_no_outage(tmp_path: Path, *, is_bare: bool) -> None:
    keys = Keys(tmp_path / "key_file.json")
    file = tmp_path / "token" if is_bare else keys.path

    def write() -> None:
        keys.write()
        if is_bare:
            file.write_text(f"{keys.of('inference')}\n")

    write()
    inference = FakeInference(token=lambda: keys.of("inference"))
    async with serving(inference) as port:
        predictions = Predictions(TokenFile(file), time=AT_ONCE)
        predictions.connect(f"127.0.0.1:{port}")
        await predictions.ping(5.0)
        for call in (predictions.ping(5.0), predictions.predict(REQUEST)):
            keys.renew("inference")
            write()
            await call
        await predictions.aclose()

    assert (inference.pings, inference.answered) == (2, 1)


async def test_a_server_without_authorization_is_sent_no_token() -> None:
    async with serving(FakeInference()) as port:
        predictions = Predictions(NoTokens())
        predictions.connect(f"127.0.0.1:{port}")
        await predictions.ping(5.0)
        assert (await predictions.predict(REQUEST))[1:] == ROWS.tobytes()
        await predictions.aclose()


# ---- channels ----


async def test_nothing_is_asked_before_there_is_an_address() -> None:
    predictions = Predictions(NoTokens())

    with pytest.raises(EngineUnavailable, match="does not resolve"):
        await predictions.predict(REQUEST)
    with pytest.raises(EngineUnavailable, match="does not resolve"):
        await predictions.ping(5.0)
    await predictions.aclose()


async def test_a_server_that_is_gone_does_not_answer() -> None:
    predictions = Predictions(NoTokens())
    predictions.connect("127.0.0.1:1")

    with pytest.raises(EngineUnavailable, match="does not answer"):
        await predictions.ping(5.0)
    with pytest.raises(EngineUnavailable, match="could not run"):
        await predictions.predict(REQUEST)
    await predictions.aclose()


async def test_a_call_in_flight_ends_on_the_channel_that_it_began_on() -> None:
    first, second = FakeInference(), FakeInference()
    first.gate.clear()
    predictions = Predictions(NoTokens())
    async with serving(first) as one, serving(second) as two:
        predictions.connect(f"127.0.0.1:{one}")
        call = asyncio.create_task(predictions.predict(REQUEST))
        await first.arrivals.acquire()

        predictions.connect(f"127.0.0.1:{two}")
        await predictions.predict(REQUEST)
        assert (first.answered, second.answered) == (0, 1)
        first.gate.set()

        assert (await call)[1:] == ROWS.tobytes()
        assert (first.answered, second.answered) == (1, 1)
        await predictions.aclose()


async def test_closing_ends_calls_on_every_channel() -> None:
    first, second = FakeInference(), FakeInference()
    predictions = Predictions(NoTokens())
    async with serving(first) as one, serving(second) as two:
        calls = []
        for inference, port in ((first, one), (second, two)):
            inference.gate.clear()
            predictions.connect(f"127.0.0.1:{port}")
            calls.append(asyncio.create_task(predictions.predict(REQUEST)))
            await inference.arrivals.acquire()

        await predictions.aclose()

        for call in calls:
            with pytest.raises(EngineUnavailable, match="closed"):
                await call
        await first.cancelled.acquire()
        await second.cancelled.acquire()


async def test_a_batch_that_torchserve_has_lost_is_given_up() -> None:
    inference = FakeInference()
    inference.gate.clear()
    predictions = Predictions(NoTokens(), call_seconds=0.05)
    async with serving(inference) as port:
        predictions.connect(f"127.0.0.1:{port}")
        with pytest.raises(EngineUnavailable, match="lost"):
            await predictions.predict(REQUEST)
        await inference.cancelled.acquire()
        await predictions.aclose()


async def test_a_server_that_says_nothing_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        predictions = Predictions(NoTokens())
        predictions.connect(f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(EngineUnavailable, match="does not answer within"):
            await predictions.ping(0.05)
        await predictions.aclose()


async def test_a_wall_clock_that_is_set_while_a_call_begins_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python's gRPC makes a moment of a time limit, by the wall clock."""
    predictions = Predictions(NoTokens())
    async with serving(FakeInference()) as port:
        predictions.connect(f"127.0.0.1:{port}")
        monkeypatch.setattr(time, "time", lambda: 0.0)
        await predictions.ping(30.0)
        assert (await predictions.predict(REQUEST))[1:] == ROWS.tobytes()
        await predictions.aclose()


async def test_a_server_that_takes_its_time_to_say_hello_is_waited_for() -> None:
    predictions = Predictions(NoTokens())
    async with serving(FakeInference()) as port, relay_to(f"127.0.0.1:{port}") as relay:
        relay.delay_seconds = 0.25
        predictions.connect(relay.address)
        await predictions.ping(30.0)
        await predictions.aclose()
