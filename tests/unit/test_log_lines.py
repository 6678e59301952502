"""A log that takes nothing more costs lines, and nobody who logs hears of it."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from seqserve.log_lines import Lines


class Disk(io.RawIOBase):
    """Takes what it has room for."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, text: Any) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = bytes(text)[: self.room]
        self.room -= len(part)
        self.taken += part
        return len(part)


class File:
    """What has buffers before it, as standard error has."""

    def __init__(self, disk: Disk) -> None:
        self.buffer = io.BufferedWriter(disk)


def lines_on(disk: Disk) -> Lines:
    return Lines(cast("Any", File(disk)))


def test_a_line_that_finds_no_room_is_lost_and_the_next_ones_are_whole() -> None:
    disk = Disk(10)
    lines = lines_on(disk)
    for words in ("first", "second", "third"):
        lines.info(words)
    assert disk.taken == b"first\nseco"
    disk.room = 1000
    with capture_logs() as said:
        lines.info("fourth")
        lines.info("fifth")

    assert disk.taken == b"first\nseco\nfourth\nfifth\n"
    assert said == [{"event": "log lines lost", "lines": 2, "log_level": "warning"}]


def test_what_has_no_buffers_is_written_to_as_it_is() -> None:
    text = io.StringIO()
    Lines(text).warning("words")
    assert text.getvalue() == "words\n"
    text.close()
    Lines(text).warning("nobody is there")


LOG = """
import structlog
from seqserve.logs import configure_logs
configure_logs("info", "json")
for number in range(1000):
    structlog.get_logger().info("a line", number=number)
print("done")
"""


@pytest.mark.parametrize("is_there", [True, False])
def test_a_program_whose_log_is_full_ends_as_it_would(*, is_there: bool) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", LOG],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if is_there else full,
            text=True,
            check=False,
        )

    assert (ended.returncode, ended.stdout) == (0, "done\n")
    if is_there:
        assert [json.loads(line)["number"] for line in ended.stderr.splitlines()] == [*range(1000)]


def test_structlog_takes_it_for_a_logger() -> None:
    text = io.StringIO()
    logger = structlog.wrap_logger(Lines(text), processors=[structlog.processors.JSONRenderer()])
    logger.info("an event", what=1)
    logger.error("another")

    assert [json.loads(line)["event"] for line in text.getvalue().splitlines()] == ["an event", "another"]
