"""What is skipped elsewhere fails where it is asked for."""

from __future__ import annotations

from typing import Literal

import pytest

from support.required import VARIABLE, skip_or_fail, skipped_line


@pytest.mark.parametrize("value", ["", "deploy", "images,deploy"])
def test_what_nobody_asks_for_is_skipped_with_its_reason(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)

    with pytest.raises(pytest.skip.Exception, match="no tool"):
        skip_or_fail("image", "no tool")


@pytest.mark.parametrize("value", ["image", "deploy, image"])
def test_what_is_asked_for_fails_with_its_reason(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)

    with pytest.raises(pytest.fail.Exception, match=r"no tool \(SEQSERVE_TESTS_REQUIRE has image\)"):
        skip_or_fail("image", "no tool")


def report(outcome: Literal["passed", "skipped"]) -> pytest.TestReport:
    reason = ("test.py", 1, "Skipped: no tool")
    return pytest.TestReport("test.py::it", ("", 0, ""), {}, outcome, reason, "call")


def test_a_run_of_which_something_was_skipped_ends_with_a_line_that_says_so() -> None:
    passed, skipped = report("passed"), report("skipped")

    assert skipped_line("image", {"passed": [passed]}) == ""
    assert skipped_line("image", {"skipped": [skipped]}) == (
        "*** image: NOTHING WAS TESTED: no tool (SEQSERVE_TESTS_REQUIRE=image makes this fail) ***"
    )
    assert "1 OF 3 TESTS SKIPPED" in skipped_line("image", {"skipped": [skipped], "passed": [passed] * 2})
