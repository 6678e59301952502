"""Versions come and go under load, broken ones among them, in a real engine whose every answer is checked."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from seqserve.engines.torchserve.config import Layout
from support.archives import make_archive
from support.checked import Checked, Figures, checked
from support.exposition import total
from support.faulty import asked
from support.own_torchserve import (
    OWN_TORCHSERVE,
    descriptors,
    needs_torchserve,
    on_each_front,
    until_alone,
)
from support.reloads import bring, remove
from support.running import until
from support.served import Served, serving
from support.torchscript import scripted
from support.truth import HANDLER, MODEL, SIGNATURE, network, put_version

CALLERS, FEW_CALLERS = 16, 4
"""Few where each version starts a process of TorchServe's, which wants the same cores."""
ROWS = (1, 1, 1, 3 * SIGNATURE.max_batch_size)
"""Of the calls of each caller in turn: one row, or so many that they take several batches, all of one version."""
BROKEN = 5
"""Every fifth version is: cut short, or sound with answers that its golden rows do not hold."""


def bring_liar(store: Path, folder: Path, version: str) -> None:
    """A sound archive whose weights are another version's."""
    folder.mkdir(exist_ok=True)
    members = {f"{MODEL}.pt": scripted(network("999")), "handler.py": HANDLER}
    path = make_archive(folder, MODEL, version, signature=SIGNATURE, replace=members)
    for file in (path, path.with_name(f"{path.name}.sha256")):
        shutil.copy(file, store)


async def until_refused(gateway: Served, times: int) -> None:
    while await total(gateway.http, "seqserve_reloads_total", model=MODEL, result="refused") < times:
        await asyncio.sleep(0.05)


async def until_answered_by(caller: Checked, version: str) -> None:
    while version not in caller.versions:
        await asyncio.sleep(0.02)


async def reload(gateway: Served, store: Path, caller: Checked, most: int) -> int:
    """Versions 2, 3 … each in the place of the last sound one; returns how many were refused."""
    serving_now, refused = "1", 0
    for number in range(2, most + 2):
        version = str(number)
        if number % BROKEN:
            await asyncio.to_thread(bring, store, version, is_broken=False)
            await until_answered_by(caller, version)
            remove(store, serving_now)
            serving_now = version
            continue
        refused += 1
        if refused % 2:
            await asyncio.to_thread(bring_liar, store, store.with_name("liars"), version)
        else:
            await asyncio.to_thread(bring, store, version, is_broken=True)
        await until_refused(gateway, refused)
        remove(store, version)
    return refused


async def reloaded(gateway: Served, store: Path, times: int, callers: int, record: Figures) -> str:
    """So many versions under load, which nobody notices; returns the one that serves in the end."""
    ended = asyncio.Event()
    async with checked(gateway.grpc) as caller, asyncio.TaskGroup() as tasks:
        for at in range(callers):
            tasks.create_task(caller.call_until(ended, rows=ROWS[at % len(ROWS)]))
        await until_answered_by(caller, "1")
        began = time.monotonic()
        refused = await reload(gateway, store, caller, times)
        ended.set()
    record("answered", caller.outcomes["OK"])
    record("refused_archives", refused)
    record("seconds", time.monotonic() - began)
    assert caller.outcomes.keys() == {"OK"}, caller.errors[:3]
    assert not caller.wrong
    assert len(caller.versions) == times + 1 - refused
    return max(caller.versions, key=int)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """`digit` 1."""
    folder = tmp_path / "store"
    folder.mkdir()
    put_version(folder, "1")
    return folder


@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.long)])
async def test_reloads_under_load_fail_nobody_and_each_answer_is_wholly_of_one_version(
    tmp_path: Path, store: Path, front: str, times: int, record_property: Figures
) -> None:
    with serving(tmp_path, store, f"--front={front}") as gateway:
        await reloaded(gateway, store, times, CALLERS, record_property)


@needs_torchserve
@pytest.mark.parametrize(("front", "times"), on_each_front(short=4, long=100), indirect=["front"])
async def test_reloads_through_torchserve_fail_nobody_and_leave_nothing_of_the_old_ones(
    tmp_path: Path, store: Path, front: str, times: int, record_property: Figures
) -> None:
    layout = Layout(tmp_path / "torchserve")
    options = (f"--front={front}", OWN_TORCHSERVE, f"--torchserve-folder={layout.folder}")
    with serving(tmp_path, store, *options) as gateway:
        async with asked(gateway) as torchserve:
            await torchserve.until_ready(f"{MODEL}/1")
            await until_alone(torchserve, layout, "1")
            before = descriptors(torchserve)
            last = await reloaded(gateway, store, times, FEW_CALLERS, record_property)
            await until_alone(torchserve, layout, last)
            # one for each sound version would be a leak
            await until(lambda: max(grown(before, descriptors(torchserve))) < (BROKEN - 1) * times // BROKEN)
            record_property("grown_descriptors", max(grown(before, descriptors(torchserve))))


def grown(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """By how much, each."""
    return [now - was for was, now in zip(before, after, strict=True)]
