"""What is skipped elsewhere fails where it is asked for."""

from __future__ import annotations

import pytest

from support.required import VARIABLE, skip_or_fail


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
