"""Channels to TorchServes: one for each target, for as long as somebody uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from seqserve.engines.torchserve.channels import Channels
from support.batching import settle
from support.time import FakeTime

LINGER_SECONDS = 300.0
TARGET = "ipv4:127.0.0.1:1"


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
async def channels(time: FakeTime) -> AsyncIterator[Channels]:
    made = Channels(None, LINGER_SECONDS, time.time)
    yield made
    await made.aclose()


async def test_who_asks_for_the_same_target_shares_a_channel(channels: Channels) -> None:
    first = channels.take(TARGET)

    assert channels.take(TARGET) is first
    assert channels.take("ipv4:127.0.0.1:2") is not first


async def test_one_that_nobody_uses_is_closed_once_its_last_calls_have_ended(
    channels: Channels, time: FakeTime
) -> None:
    first = channels.take(TARGET)
    channels.take(TARGET)
    channels.give_back(TARGET)
    await time.pass_by(LINGER_SECONDS)
    assert channels.take(TARGET) is first, "somebody still uses it"

    for _ in range(2):
        channels.give_back(TARGET)
    await settle()
    await time.pass_by(LINGER_SECONDS - 1)
    assert channels.take(TARGET) is first, "it is taken again in time"
    await time.pass_by(LINGER_SECONDS)
    assert channels.take(TARGET) is first

    for _ in range(2):
        channels.give_back(TARGET)
    await settle()
    await time.pass_by(LINGER_SECONDS)
    assert channels.take(TARGET) is not first
