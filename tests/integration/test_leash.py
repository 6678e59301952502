"""A command on the leash ends with whoever holds it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from seqserve.engines.leash import HOLDER, Leash
from support.running import is_running, parent_of, until

FOREVER = "import time; time.sleep(600)"
STUBBORN = (
    f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {FOREVER}"
)
PARENT = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {FOREVER!r}]).pid, flush=True); {FOREVER}"


async def start(folder: Path, code: str, *, grace_seconds: float = 10.0) -> Leash:
    (folder / "scratch").mkdir()
    (folder / "key").touch()
    return await Leash.start(
        [sys.executable, "-c", code],
        folder=folder,
        environment={},
        console=folder / "console.log",
        remove=[folder / "scratch", folder / "key"],
        grace_seconds=grace_seconds,
    )


def printed(folder: Path) -> str:
    """What the command printed so far."""
    return (folder / "console.log").read_text().strip()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_letting_go_ends_the_command_and_removes_what_it_needed(tmp_path: Path) -> None:
    leash = await start(tmp_path, FOREVER)

    await leash.let_go()

    assert await leash.ended == -signal.SIGTERM
    assert not is_running(leash.command_id)
    assert names(tmp_path) == ["console.log"]


async def test_a_command_that_will_not_end_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    leash = await start(tmp_path, STUBBORN, grace_seconds=0.05)
    await until(lambda: printed(tmp_path))

    await leash.let_go()

    assert await leash.ended == -signal.SIGKILL


async def test_children_of_the_command_go_with_it(tmp_path: Path) -> None:
    leash = await start(tmp_path, PARENT)
    await until(lambda: printed(tmp_path))
    child = int(printed(tmp_path))

    os.kill(leash.command_id, signal.SIGKILL)

    assert await leash.ended == -signal.SIGKILL
    await until(lambda: not is_running(child))
    await leash.let_go()


async def test_the_command_shares_the_processors_with_us_and_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    """Linux shares them out by session: one of its own would wait while others in ours keep them busy."""
    leash = await start(tmp_path, FOREVER)
    holder = parent_of(leash.command_id)

    assert os.getsid(holder) == os.getsid(leash.command_id) == os.getsid(0)
    assert os.getpgrp() not in (os.getpgid(holder), os.getpgid(leash.command_id))
    await leash.let_go()


async def test_a_command_that_ends_by_itself_tells_its_status_and_leaves_its_files(tmp_path: Path) -> None:
    leash = await start(tmp_path, "raise SystemExit(3)")

    assert await leash.ended == 3
    assert (tmp_path / "scratch").is_dir()
    await leash.let_go()
    assert not (tmp_path / "scratch").exists()


async def test_a_killed_holder_takes_the_command_along_and_what_it_needed(tmp_path: Path) -> None:
    leash = await start(tmp_path, FOREVER)

    os.kill(parent_of(leash.command_id), signal.SIGKILL)

    assert await leash.ended is None
    await until(lambda: not is_running(leash.command_id))
    await leash.let_go()
    assert names(tmp_path) == ["console.log"]


async def test_letting_go_for_a_while_ends_the_command_and_keeps_its_files(tmp_path: Path) -> None:
    leash = await start(tmp_path, FOREVER)

    await leash.let_go(is_removing=False)

    assert await leash.ended == -signal.SIGTERM
    assert not is_running(leash.command_id)
    assert names(tmp_path) == ["console.log", "key", "scratch"]


async def test_what_was_kept_goes_when_the_command_is_not_started_again_after_all(tmp_path: Path) -> None:
    leash = await start(tmp_path, FOREVER)
    for _ in range(3):  # starts that fail
        await leash.let_go(is_removing=False)
    assert names(tmp_path) == ["console.log", "key", "scratch"]

    await leash.let_go()

    assert names(tmp_path) == ["console.log"]


async def test_a_killed_command_ends_at_once_with_its_children_and_keeps_its_files(tmp_path: Path) -> None:
    leash = await start(tmp_path, f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {PARENT}")
    await until(lambda: printed(tmp_path))
    child = int(printed(tmp_path))

    leash.kill()

    assert await leash.ended == -signal.SIGKILL
    await until(lambda: not is_running(child))
    assert (tmp_path / "scratch").is_dir()
    leash.kill()  # a second time does nothing
    await leash.let_go()


async def test_a_command_that_is_not_there_is_an_error_with_words_on_the_console(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="/nowhere/java cannot be started"):
        await Leash.start(
            ["/nowhere/java"], folder=tmp_path, environment={}, console=tmp_path / "console.log",
            remove=[], grace_seconds=1.0,
        )  # fmt: skip

    assert "/nowhere/java" in (tmp_path / "console.log").read_text()


async def test_a_killed_gateway_leaves_nothing_behind_and_no_grace_is_waited_for(tmp_path: Path) -> None:
    gateway = f"""
import subprocess, sys
holder = subprocess.Popen(
    [sys.executable, "-I", "-S", {str(HOLDER)!r}, "3600", '["scratch"]', sys.executable, "-c", {STUBBORN!r}],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
print(holder.stdout.readline().decode(), flush=True)
{FOREVER}
"""
    (tmp_path / "scratch").mkdir()
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        gateway,
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert running.stdout is not None
    assert running.stderr is not None
    command_id = int(await running.stdout.readline())
    assert await running.stderr.readline() == b"deaf\n"
    assert is_running(command_id)

    running.kill()

    await running.wait()
    await until(lambda: not is_running(command_id))
    await until(lambda: names(tmp_path) == [])
