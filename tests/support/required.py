"""Tests that skip where the machine lacks a tool: or fail, where somebody counts on them."""

from __future__ import annotations

import os
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
