"""Where the native front is not built, the benchmark leaves it out and says why."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench import native
from bench.fronts import absent_labels
from bench.labels import NATIVE


@pytest.mark.parametrize(
    ("why_not", "told"),
    [("", ""), ("the native front is not built", "the native front is not built; `make native` builds it")],
)
def test_the_gateway_says_whether_it_is_built(
    monkeypatch: pytest.MonkeyPatch, why_not: str, told: str
) -> None:
    monkeypatch.setattr(native, "import_module", lambda _: SimpleNamespace(why_not=lambda: why_not))

    assert native.missing_native() == told
    assert absent_labels([]).get(NATIVE, "") == told


def test_a_gateway_without_one_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "LIBRARY", "seqserve.no_such_front.library")

    assert native.missing_native() == "this gateway has no native front"
