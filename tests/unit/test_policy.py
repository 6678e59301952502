"""Version policies: which of the versions in a store are wanted."""

from __future__ import annotations

import pytest

from seqserve.repository.policy import VersionPolicy


@pytest.mark.parametrize(
    ("text", "available", "wanted"),
    [
        ("all", ["10", "2", "9"], ["2", "9", "10"]),
        ("latest:1", ["10", "2", "9"], ["10"]),
        ("latest:2", ["10", "2", "9"], ["9", "10"]),
        ("latest:5", ["10", "2"], ["2", "10"]),
        ("listed:2,10", ["10", "2", "9"], ["2", "10"]),
        ("listed: 2, 10", ["10", "9"], ["10"]),
        ("listed:4", ["10", "9"], []),
        ("all", [], []),
    ],
)
def test_what_is_wanted(text: str, available: list[str], wanted: list[str]) -> None:
    assert VersionPolicy.parse(text).choose(available) == wanted


def test_what_a_label_points_at_is_wanted_whatever_the_policy() -> None:
    assert VersionPolicy.parse("latest:1").choose(["1", "2", "3"], pinned={"1", "8"}) == ["1", "3"]


@pytest.mark.parametrize(
    "text", ["", "latest", "latest:0", "latest:-1", "listed:", "listed:a", "listed:0", "some"]
)
def test_what_is_no_policy_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="accepted: all, latest:N or listed:1,3"):
        VersionPolicy.parse(text)
