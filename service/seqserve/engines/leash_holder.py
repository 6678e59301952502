"""Holds a command on a leash: when the gateway goes, however it goes, the command goes too.

A program of its own, with the standard library only, because a killed gateway cannot clean up:

    python leash_holder.py GRACE_SECONDS '["path to remove", …]' command …

It starts the command in a process group of its own and prints its id, then its exit status, on one
line each. When standard input ends with END it asks the command to end, kills the group after the grace
period, removes the paths and exits. Where it was KEEP it leaves the paths: the command is to be started
again. Where nothing was said the gateway has died: all of it is killed at once, for the next gateway
wants its ports and its folder. leash.py is the gateway's end of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

END, KEEP = b"end", b"keep"


def hold(grace_seconds: float, paths: Sequence[str], command: Sequence[str]) -> None:
    """Run the command until it ends; stay until the gateway lets go, then clean up."""
    child = subprocess.Popen(  # noqa: S603 - the gateway composed the command
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, process_group=0
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    _say(child.pid)
    last_words: list[bytes] = []
    let_go = threading.Thread(target=_end_when_let_go, args=(child, grace_seconds, last_words), daemon=True)
    let_go.start()
    status = child.wait()
    _kill_group(child.pid)  # children that outlived the command
    _say(status)
    let_go.join()
    if KEEP not in last_words:
        remove(paths)


def remove(paths: Sequence[str]) -> None:
    """Remove files, and folders with all that is in them; what is not there is fine."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):  # rmtree removes no plain files
            Path(path).unlink()


def _end_when_let_go(child: subprocess.Popen[bytes], grace_seconds: float, last_words: list[bytes]) -> None:
    said = sys.stdin.buffer.read()
    last_words.append(said)
    if not said:
        child.kill()
        return
    child.terminate()
    try:
        child.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        _kill_group(child.pid)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _say(number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # the gateway is gone; the clean-up goes on
        print(number, flush=True)  # noqa: T201 - the gateway reads it


if __name__ == "__main__":
    hold(float(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:])
