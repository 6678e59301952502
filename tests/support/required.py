"""Tests that skip where the machine lacks a tool: or fail, where somebody counts on them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

import pytest

VARIABLE = "SEQSERVE_TESTS_REQUIRE"
"""What must not be skipped, separated by commas: image, deploy, monitoring."""


def is_required(what: str) -> bool:
    """Whether the environment names it."""
    return what in {name.strip() for name in os.environ.get(VARIABLE, "").split(",")}


def skip_or_fail(what: str, reason: str) -> NoReturn:
    """Skip the test, with a reason; fail it where the environment names `what`."""
    if is_required(what):
        pytest.fail(f"{reason} ({VARIABLE} has {what})", pytrace=False)
    pytest.skip(reason)


def skipped_line(what: str, outcomes: Mapping[str, Sequence[object]]) -> str:
    """A line for the very end of a run of which something was skipped; "" where nothing was.

    outcomes: pytest's reports by outcome, its terminal reporter's `stats`.
    """
    skipped = [report for report in outcomes.get("skipped", ()) if isinstance(report, pytest.TestReport)]
    if not skipped:
        return ""
    reason = skipped[0].longrepr[2] if isinstance(skipped[0].longrepr, tuple) else ""
    ran = sum(len(outcomes.get(outcome, ())) for outcome in ("passed", "failed", "error"))
    how_much = f"{len(skipped)} OF {len(skipped) + ran} TESTS SKIPPED" if ran else "NOTHING WAS TESTED"
    return (
        f"*** {what}: {how_much}: {reason.removeprefix('Skipped: ')} ({VARIABLE}={what} makes this fail) ***"
    )
