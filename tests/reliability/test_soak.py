"""Minutes of what `make soak` does for hours, and the control: a gateway that leaks, which it must find."""

from __future__ import annotations

import pytest

from seqserve.native_front import library
from soak.run import Options, soak

FRONTS = ["python", "native"]


def nobody_listens(_words: str) -> None:
    """To how it goes."""


def options(front: str, minutes: float, **more: object) -> Options:
    if front == "native" and library.why_not():
        pytest.skip(library.why_not())
    return Options(minutes, front, **more)  # type: ignore[arg-type]  # what its fields are


@pytest.mark.parametrize("front", FRONTS)
async def test_callers_of_every_kind_get_right_answers_while_versions_come_and_go(front: str) -> None:
    report = await soak(options(front, 0.2, reload_seconds=3), nobody_listens)

    assert not report.tally.wrong
    assert not report.tally.unexpected, report.tally.examples
    assert not report.status
    assert not any(report.left.values()), report.left
    assert len(report.tally.versions) > 1


@pytest.mark.long
@pytest.mark.parametrize("front", FRONTS)
async def test_nothing_grows(front: str) -> None:
    report = await soak(options(front, 6, reload_seconds=10), nobody_listens)

    assert not report.faults, "\n".join(report.lines())


@pytest.mark.long
@pytest.mark.parametrize("front", FRONTS)
async def test_a_gateway_that_leaks_is_found_out(front: str) -> None:
    report = await soak(options(front, 3, reload_seconds=10, is_leaking=True), nobody_listens)

    assert report.faults == ["memory_bytes grows", "descriptors grows", "threads grows", "tasks grows"]


@pytest.mark.long
async def test_the_same_behind_torchserve() -> None:
    report = await soak(options("python", 3, engine="torchserve", reload_seconds=30), nobody_listens)

    assert not report.faults, "\n".join(report.lines())
