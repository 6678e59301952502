"""Another server's metrics, as they are handed on."""

from __future__ import annotations

import pytest

from seqserve.errors import EngineUnavailable
from seqserve.metrics.relay import Relay


@pytest.mark.parametrize(
    ("text", "handed_on"),
    [(b"", b""), (b"a 1\n", b"a 1\n"), (b"a 1", b"a 1\n"), (b"a 1\nb 2", b"a 1\nb 2\n")],
)
async def test_whole_lines_are_handed_on_as_they_are(text: bytes, handed_on: bytes) -> None:
    async def read() -> bytes:
        return text

    relay = Relay()
    relay.read_from(read)

    assert await relay.text() == handed_on


async def test_they_are_read_anew_each_time_and_while_the_server_is_away_there_are_none() -> None:
    answers: list[bytes | Exception] = [b"a 1\n", EngineUnavailable("away"), b"a 2\n"]

    async def read() -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    relay = Relay()
    relay.read_from(read)

    assert [await relay.text() for _ in range(3)] == [b"a 1\n", b"", b"a 2\n"]


async def test_without_another_server_there_are_none() -> None:
    assert await Relay().text() == b""
