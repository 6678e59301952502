"""Keeps what a run has found: the inputs that reach more than a target's seeds and its corpus do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz import target
from fuzz.target import Target

NAME_LENGTH = 16
MOST_WORDS = 2000


def write_inputs(inputs: Iterable[bytes], folder: Path) -> None:
    """Each in a file of its own, in a new folder."""
    folder.mkdir()
    for number, data in enumerate(inputs):
        (folder / f"{number:04}").write_bytes(data)


def keep_what_adds(what: Target, grown: Path, worker: Sequence[str]) -> int:
    """Put into the target's corpus what adds to it, by libFuzzer's own judgement; returns how many.

    grown: the folder with what a run has made. worker: the command of `fuzz.worker`, without options.
    Raises RuntimeError where libFuzzer fails.
    """
    with TemporaryDirectory(prefix="seqserve-fuzz-") as folder:
        merged = Path(folder) / "merged"
        write_inputs(what.inputs(), merged)
        known = {*merged.iterdir()}
        options = ["-merge=1", f"-max_len={what.max_bytes}", str(merged), str(grown)]
        ended = subprocess.run(
            [*worker, *options], check=False, capture_output=True, text=True, errors="replace"
        )
        if ended.returncode:
            raise RuntimeError(f"inputs could not be merged: {ended.stderr[-MOST_WORDS:]}")
        new = sorted({*merged.iterdir()} - known)
        corpus = target.CORPUS / what.name
        corpus.mkdir(parents=True, exist_ok=True)
        for path in new:
            shutil.copyfile(path, corpus / path.name[:NAME_LENGTH])
    return len(new)
