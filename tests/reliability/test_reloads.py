"""Versions come and go under load, broken ones among them, in a real engine whose every answer is checked."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from soak.reloads import bring, remove
from soak.truth import HANDLER, MODEL, SIGNATURE, network, put_version
from support.archives import make_archive
from support.checked import Checked, Figures, checked
from support.exposition import total
from support.served import Served, serving
from support.torchscript import scripted

CALLERS = 16
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


@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.long)])
async def test_reloads_under_load_fail_nobody_and_each_answer_is_wholly_of_one_version(
    tmp_path: Path, front: str, times: int, record_property: Figures
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    put_version(store, "1")
    ended = asyncio.Event()
    with serving(tmp_path, store, f"--front={front}") as gateway:
        async with checked(gateway.grpc) as caller, asyncio.TaskGroup() as tasks:
            for _ in range(CALLERS):
                tasks.create_task(caller.call_until(ended))
            began = time.monotonic()
            refused = await reload(gateway, store, caller, times)
            ended.set()
    record_property("answered", caller.outcomes["OK"])
    record_property("refused_archives", refused)
    record_property("seconds", time.monotonic() - began)
    assert caller.outcomes.keys() == {"OK"}, caller.errors[:3]
    assert not caller.wrong
    assert len(caller.versions) == times + 1 - refused
