"""Hostile HTTP/2 and mutated messages against a real gateway; see tests/fuzz/front.py."""

from __future__ import annotations

import pytest

from fuzz.front import attack


@pytest.mark.parametrize("connections", [80, pytest.param(4000, marks=pytest.mark.long)])
async def test_neighbours_are_answered_rightly_and_all_comes_back(
    front: str, engine: str, connections: int
) -> None:
    made = await attack(front, connections, 1, lambda _: None, engine=engine)

    assert not made.faults, "\n".join(made.faults)
    assert made.answers > 1
    assert made.codes["OK"]
    assert made.codes["INVALID_ARGUMENT"]
