"""Labels and canaries: the same id meets the same version, and shares are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.repository.routing import Routing, choose

NUMBERS = st.integers(1, 40).map(str)
WEIGHTS = st.dictionaries(NUMBERS, st.integers(0, 100), max_size=5)
IDS = [str(number) for number in range(4000)]


@pytest.mark.parametrize(
    ("asked", "ready", "routing", "answers"),
    [
        ("", ["2", "10", "9"], Routing(), "10"),
        ("", [], Routing(), ""),
        ("2", ["2", "10"], Routing(), "2"),
        ("", ["2", "10"], Routing(labels={"stable": "2"}), "2"),
        ("new", ["2", "10"], Routing(labels={"stable": "2", "new": "10"}), "10"),
        ("7", ["2"], Routing(labels={"stable": "2"}), "7"),
        ("", ["2", "10"], Routing(labels={"stable": "2"}, weights={"10": 1}), "10"),
        ("", ["2"], Routing(labels={"stable": "2"}, weights={"10": 1}), "2"),
        ("", ["2", "3"], Routing(weights={"2": 0}), "3"),
    ],
)
def test_who_answers(asked: str, ready: list[str], routing: Routing, answers: str) -> None:
    assert routing.version_for(asked, ready, "some id") == answers


@given(weights=WEIGHTS, request_id=st.text(max_size=20))
def test_a_choice_has_a_share_and_does_not_depend_on_the_order(
    weights: dict[str, int], request_id: str
) -> None:
    chosen = choose(weights, request_id)

    assert chosen == choose(dict(reversed(weights.items())), request_id)
    assert weights[chosen] > 0 if chosen else not any(weights.values())


@given(weights=WEIGHTS, request_id=st.text(max_size=20), other=NUMBERS, share=st.integers(1, 100))
def test_an_id_stays_where_it_was_or_moves_to_the_version_that_came(
    weights: dict[str, int], request_id: str, other: str, share: int
) -> None:
    weights.pop(other, None)
    assert choose({**weights, other: share}, request_id) in {choose(weights, request_id), other}


@pytest.mark.parametrize(("weight", "share"), [(1, 0.1), (9, 0.5), (27, 0.75)])
def test_shares_are_those_of_the_weights(weight: int, share: float) -> None:
    chosen = [choose({"1": 9, "2": weight}, request_id) for request_id in IDS]
    assert chosen.count("2") / len(IDS) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    ("wanted", "before", "up", "labels"),
    [
        ({"stable": "2"}, {"stable": "1"}, ["1", "2"], {"stable": "2"}),
        ({"stable": "2"}, {"stable": "1"}, ["1"], {"stable": "1"}),
        ({"stable": "2"}, {"stable": "1"}, ["3"], {"stable": "2"}),
        ({"stable": "2"}, {}, ["1"], {}),
        ({"stable": "2"}, {}, [], {"stable": "2"}),
        ({"next": "2"}, {}, ["1"], {"next": "2"}),
        ({"next": "2"}, {"next": "1", "stable": "1"}, ["1"], {"next": "1"}),
        ({}, {"stable": "1"}, ["1"], {}),
    ],
)
def test_a_label_moves_when_its_version_is_up(
    wanted: dict[str, str], before: dict[str, str], up: list[str], labels: dict[str, str]
) -> None:
    assert Routing(wanted).settled(Routing(before), up).labels == labels
