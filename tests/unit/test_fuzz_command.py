"""`python -m fuzz`: what it says before it begins."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fuzz.__main__ import main
from seqserve.native_front import library


def test_a_front_that_is_asked_for_and_not_built_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "why_not", lambda: "the native front is not built")
    ended = CliRunner().invoke(main, ["native"])

    assert ended.exit_code == 1
    assert "native: the native front is not built" in ended.output
