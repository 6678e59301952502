"""A store that is followed where archives must be attested: what is waited for, refused and tried again."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from seqserve.repository.patience import SETTLE_SECONDS
from seqserve.trust import Trust, attestation_path
from support.attesting import Signer, attest, put_envelope, trusting
from support.stores import World

RELEASE, NEXT = Signer(), Signer()


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Version 1 is attested and serves."""
    store = tmp_path / "store"
    store.mkdir()
    world = World(store, trust=trusting(tmp_path / "trusted", release=RELEASE))
    attest(world.add("1"), RELEASE)
    await world.sync.load_initially()
    assert world.states == {"tiny/1": "ready"}
    return world


def reason(world: World, version: str) -> str:
    entry = world.repository.find("tiny", version)
    assert entry is not None
    return entry.reason


async def test_an_archive_is_left_alone_until_its_attestation_is_there(world: World) -> None:
    path = world.add("2")
    await world.sync.sync()
    world.time += SETTLE_SECONDS / 2
    await world.sync.sync()
    assert world.states == {"tiny/1": "ready"}

    attest(path, RELEASE)
    await world.sync.sync()
    assert world.states == {"tiny/1": "ready", "tiny/2": "ready"}
    assert world.notes.reloads == [("tiny", "loaded")] * 2


async def test_so_it_is_until_its_attestation_fits(world: World) -> None:
    path = world.add("2")
    whole = attest(path, RELEASE).read_bytes()
    put_envelope(path, whole[:100])
    await world.sync.sync()
    assert world.states == {"tiny/1": "ready"}

    put_envelope(path, whole)
    await world.sync.sync()
    assert world.states == {"tiny/1": "ready", "tiny/2": "ready"}


async def test_what_stays_without_one_is_refused_until_it_comes(world: World) -> None:
    path = world.add("2")
    for _ in range(2):
        await world.settle()
    assert world.states == {"tiny/1": "ready", "tiny/2": "failed"}
    assert reason(world, "2") == "ARCHIVE_UNTRUSTED"
    assert world.repository.resolve("tiny", "").version == "1"
    assert world.notes.reloads == [("tiny", "loaded"), ("tiny", "refused")]

    attest(path, RELEASE)
    await world.sync.sync()
    assert world.states == {"tiny/1": "ready", "tiny/2": "ready"}


async def test_what_was_refused_is_tried_again_when_its_key_becomes_trusted(world: World) -> None:
    attest(world.add("2"), NEXT)
    await world.settle()
    assert reason(world, "2") == "ARCHIVE_UNTRUSTED"
    await world.settle()

    NEXT.publish(world.trust.keys / "next.pub")
    await world.settle()
    assert world.states == {"tiny/1": "ready", "tiny/2": "ready"}
    assert world.notes.reloads == [("tiny", "loaded"), ("tiny", "refused"), ("tiny", "loaded")]


async def test_a_key_that_is_trusted_no_more_lets_what_is_loaded_serve_and_nothing_new_in(
    world: World,
) -> None:
    NEXT.publish(world.trust.keys / "next.pub")
    (world.trust.keys / "release.pub").unlink()
    attest(world.add("2"), RELEASE)
    attest(world.add("3"), NEXT)
    await world.settle()

    assert world.states == {"tiny/1": "ready", "tiny/2": "failed", "tiny/3": "ready"}


async def test_the_attestation_of_another_version_beside_a_new_one_is_refused(world: World) -> None:
    first, second = world.store / "tiny-1.mar", world.add("2")
    attestation_path(second).write_bytes(attestation_path(first).read_bytes())
    await world.settle()

    assert reason(world, "2") == "ARCHIVE_UNTRUSTED"


async def test_an_attestation_that_goes_takes_nothing_away_that_serves(world: World) -> None:
    attestation_path(world.store / "tiny-1.mar").unlink()
    await world.settle()

    assert world.states == {"tiny/1": "ready"}
    assert world.notes.reloads == [("tiny", "loaded")]


async def test_with_warn_what_is_not_attested_is_taken_and_told_once(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    keys = trusting(tmp_path / "trusted", release=RELEASE).keys
    world = World(store, trust=Trust("warn", keys))
    world.add("1")
    with capture_logs() as logs:
        await world.sync.load_initially()
        for _ in range(2):
            await world.settle()

    assert world.states == {"tiny/1": "ready"}
    [told] = [line for line in logs if line["log_level"] == "warning"]
    assert told["archive"] == "tiny-1.mar"
    assert "there is no tiny-1.mar.sig beside it" in told["reason"]
