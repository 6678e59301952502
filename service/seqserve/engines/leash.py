"""The gateway's end of leash_holder.py: a command that cannot outlive the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from seqserve.engines import leash_holder

HOLDER = Path(leash_holder.__file__)


class Leash:
    """One running command. Build it with `start`.

    command_id: the command's process id.
    ended: resolves with the exit status when the command ends. Where the holder was killed it is None,
        and the command is killed too.
    """

    def __init__(self, holder: asyncio.subprocess.Process, command_id: int, paths: Sequence[str]) -> None:
        self.command_id = command_id
        self.ended = asyncio.create_task(self._wait())
        self._holder = holder
        self._paths = paths

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        console: Path,
        remove: Sequence[Path],
        grace_seconds: float,
        locks: Sequence[int] = (),
    ) -> Leash:
        """Start the command in `folder`; what it prints goes to the file `console`.

        remove: what goes once the command is gone.
        locks: file descriptors that stay open until then.
        Raises OSError where the command cannot be started; the console says why.
        """
        paths = [str(path) for path in remove]
        # In a process group of its own, which Ctrl-C does not reach, but not in a session of its own: Linux
        # shares the processors out between sessions (sched_autogroup), and this one would wait for seconds.
        with console.open("wb") as output:
            holder = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", HOLDER, str(grace_seconds), json.dumps(paths), *command,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=output,
                cwd=folder, env=environment, process_group=0, pass_fds=locks,
            )  # fmt: skip
        try:
            command_id = await _read_number(holder)
        except BaseException:
            _close(holder)  # a cancelled start; the holder cleans up by itself
            raise
        if command_id is None:
            await holder.wait()
            raise OSError(f"{command[0]} cannot be started")
        return cls(holder, command_id, paths)

    async def let_go(self, *, is_removing: bool = True) -> None:
        """End the command and wait until nothing of it is left; without removing, its files stay.

        They stay until it is let go once more, and then with removing.
        """
        stdin = self._holder.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(leash_holder.END if is_removing else leash_holder.KEEP)
        _close(self._holder)
        await asyncio.shield(self.ended)
        await self._holder.wait()
        if is_removing:  # the holder may have been killed before it could, or told to keep them
            await asyncio.to_thread(leash_holder.remove, self._paths)

    def kill(self) -> None:
        """End the command at once, and all that it started; `ended` tells."""
        if self.ended.done():  # its number may be another's by now
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.command_id, signal.SIGKILL)

    async def _wait(self) -> int | None:
        status = await _read_number(self._holder)
        if status is None:
            self.kill()
        return status


def _close(holder: asyncio.subprocess.Process) -> None:
    if holder.stdin is not None:
        holder.stdin.close()


async def _read_number(holder: asyncio.subprocess.Process) -> int | None:
    """The next line of the holder, None at its end."""
    line = await holder.stdout.readline() if holder.stdout is not None else b""
    return int(line) if line else None
