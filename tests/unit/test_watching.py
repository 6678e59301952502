"""Whatever becomes of the system's events, a look is taken again and again, and the log says so once."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from structlog.testing import CapturingLogger

from seqserve import watching
from seqserve.watching import changes


@dataclass
class Broken:
    """Events that do not come."""

    fault: Exception

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> object:
        raise self.fault


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    found = CapturingLogger()
    monkeypatch.setattr(watching, "log", found)
    return found


@pytest.mark.parametrize(
    "fault", [FileNotFoundError("gone"), RuntimeError("inotify"), ValueError("a new one")]
)
async def test_without_events_it_goes_on_looking_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: CapturingLogger, fault: Exception
) -> None:
    monkeypatch.setattr(watching, "awatch", lambda *_, **__: Broken(fault))
    looks = 0
    async with aclosing(changes(tmp_path, "auto", 0)) as due:
        async for _ in due:
            looks += 1
            if looks == 3:
                break

    assert [call.method_name for call in log.calls] == ["warning"]
    assert log.calls[0].kwargs["folder"] == str(tmp_path)


async def test_off_never_has_a_look_taken(tmp_path: Path) -> None:
    assert [None async for _ in changes(tmp_path, "off", 0)] == []
