"""Who may call: tokens, scopes and each client's own limits, with a clock of the test's."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.access.gate import Gate
from seqserve.access.known_tokens import KnownTokens
from seqserve.access.observer import AccessObserver, RefusalReason
from seqserve.access.rate import Rate
from seqserve.access.tokens import bearer_token, new_token, token_digest
from seqserve.client_settings import Scope
from seqserve.errors import ClientOverLimit, PermissionDenied, Unauthenticated
from support.access import SCOPES, Tokens, client_settings


@dataclass
class Notes(AccessObserver):
    """What the gate told."""

    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)

    def note_access_refusal(self, client: str, reason: RefusalReason) -> None:
        self.refusals[client, reason] += 1

    def note_client_request(self, client: str) -> None:
        self.requests[client] += 1


class World:
    """A gate with one client, `app`, that has one token; and the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.notes = Notes()
        self.token = new_token()
        self.gate = Gate(self.notes, clock=lambda: self.now)
        self.follow()

    def follow(self, *tokens: str, **changes: Any) -> None:
        """The client's section now is this."""
        self.gate.follow({"app": client_settings(*(tokens or [self.token]), **changes)})

    def request(self, token: str = "") -> Any:
        """The block of one inference request."""
        return self.gate.admit([f"Bearer {token or self.token}"], "inference")


@pytest.fixture
def world() -> World:
    return World()


def test_a_token_is_256_random_bits_that_secret_scanners_know() -> None:
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert all(re.fullmatch(r"ssv_[A-Za-z0-9_-]{43}", token) for token in tokens)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_a_token_comes_as_bearer(scheme: str) -> None:
    token = new_token()

    assert bearer_token([scheme + token]) == token


TOKEN = "ssv_" + "a" * 43


@pytest.mark.parametrize(
    ("authorizations", "is_token_given", "words"),
    [
        ([], False, "a token is needed"),
        ([""], False, "not of the kind"),
        (["Basic dXNlcjpwYXNz"], False, "not of the kind"),
        ([TOKEN], False, "not of the kind"),
        (["Bearer"], False, "not of the kind"),
        ([f"Bearer {TOKEN}, Bearer {TOKEN}"], False, "not of the kind"),
        ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], False, "more than one"),
        (["Bearer secret"], True, "not one that is accepted"),
        ([f"Bearer {TOKEN}a"], True, "not one that is accepted"),
        ([f"Bearer {TOKEN[:-1]}"], True, "not one that is accepted"),
        ([f"Bearer {TOKEN[:-1]}é"], True, "not one that is accepted"),
    ],
)
def test_anything_else_is_no_token_and_is_not_quoted(
    authorizations: list[str],
    is_token_given: bool,  # noqa: FBT001 - a row of the table
    words: str,
) -> None:
    with pytest.raises(Unauthenticated, match=words) as refusal:
        bearer_token(authorizations)

    assert refusal.value.is_token_given is is_token_given
    assert not any(part in str(refusal.value) for part in ("aaaa", "dXNl", "secret"))


def test_only_the_very_token_is_found() -> None:
    tokens = {new_token(): index for index in range(50)}
    known = KnownTokens((token_digest(token), index) for token, index in tokens.items())

    assert {token: known.find(token) for token in tokens} == tokens
    assert known.find(new_token()) is None
    first = next(iter(tokens))
    assert known.find(first[:-1] + ("A" if first[-1] != "A" else "B")) is None
    assert known.find(token_digest(first).hex()) is None  # who reads the settings cannot call


@pytest.mark.parametrize("scope", SCOPES)
def test_without_clients_everybody_may_do_everything(scope: Scope) -> None:
    gate = Gate()

    for authorizations in ([], ["Bearer nonsense"], ["a", "b"]):
        with gate.admit(authorizations, scope):
            assert gate.is_known(authorizations, scope)


def test_a_token_is_good_for_its_clients_scopes_and_no_other() -> None:
    tokens, notes = Tokens(), Notes()
    gate = Gate(notes)
    gate.follow(tokens.clients())

    for name, token in tokens.of_scope.items():
        for scope in SCOPES:
            assert gate.is_known([f"Bearer {token}"], scope) is (scope == name)
            if scope != name:
                with pytest.raises(
                    PermissionDenied, match=f"client {name} has no scope '{scope}'"
                ) as refusal:
                    gate.admit([f"Bearer {token}"], scope)
                assert refusal.value.missing_scope == scope
        gate.admit([f"Bearer {token}"], name)
    for authorizations in ([], [f"Bearer {tokens.wrong}"]):
        assert not gate.is_known(authorizations, "inference")
        with pytest.raises(Unauthenticated):
            gate.admit(authorizations, "inference")

    denials = {(str(scope), "permission_denied"): 2 for scope in SCOPES}
    assert notes.refusals == denials | {("unknown", "unauthenticated"): 2}
    assert not notes.requests


def test_two_tokens_hold_beside_each_other_until_one_is_withdrawn(world: World) -> None:
    new = new_token()
    world.follow(world.token, new)
    with world.request(world.token), world.request(new):
        pass

    world.follow(new)
    with world.request(new), pytest.raises(Unauthenticated):
        world.request(world.token)


@pytest.mark.parametrize("scope", SCOPES)
def test_when_the_last_client_is_withdrawn_nobody_gets_in_until_there_is_one_again(
    world: World, scope: Scope
) -> None:
    world.gate.follow({})
    for authorizations in ([], [f"Bearer {world.token}"]):
        with pytest.raises(Unauthenticated):
            world.gate.admit(authorizations, scope)
        assert not world.gate.is_known(authorizations, scope)

    world.follow()
    with world.request():
        pass


def test_one_request_too_many_at_once_is_refused_whichever_token_it_has(world: World) -> None:
    second = new_token()
    world.follow(world.token, second, max_concurrent_requests=2)
    with (
        world.request(),
        world.request(second),
        pytest.raises(ClientOverLimit, match="has 2 requests under way, and may have 2"),
        world.request(),
    ):
        pass
    with world.request():
        pass

    assert world.notes.refusals == {("app", "concurrency"): 1}
    assert world.notes.requests == {"app": 3}


def test_requests_that_fail_give_their_room_back(world: World) -> None:
    world.follow(max_concurrent_requests=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), world.request():
            raise ZeroDivisionError


def test_a_rate_lets_through_what_comes_in_a_second_and_says_when_there_is_more(world: World) -> None:
    world.follow(max_requests_per_second=4)
    for _ in range(4):
        with world.request():
            pass
    with pytest.raises(ClientOverLimit) as refusal, world.request():
        pass
    assert refusal.value.retry_after_seconds == pytest.approx(0.25)

    world.now += refusal.value.retry_after_seconds
    with world.request():
        pass
    with pytest.raises(ClientOverLimit), world.request():
        pass
    assert world.notes.refusals == {("app", "rate"): 2}


def test_what_is_refused_for_being_too_much_at_once_takes_nothing_of_the_rate(world: World) -> None:
    world.follow(max_concurrent_requests=1, max_requests_per_second=2)
    with world.request(), pytest.raises(ClientOverLimit, match="under way"), world.request():
        pass
    with world.request():
        pass


def test_limits_that_change_count_what_is_under_way_and_has_been_taken(world: World) -> None:
    world.follow(max_requests_per_second=2)
    with ExitStack() as under_way:
        for _ in range(2):
            under_way.enter_context(world.request())
        world.follow(max_concurrent_requests=2, max_requests_per_second=1)
        with pytest.raises(ClientOverLimit, match="under way"), world.request():
            pass
    with pytest.raises(ClientOverLimit, match="a second"), world.request():
        pass
    world.follow()
    with world.request():
        pass


def test_one_clients_limit_is_no_other_clients(world: World) -> None:
    other = new_token()
    world.gate.follow(
        {"app": client_settings(world.token, max_concurrent_requests=1), "other": client_settings(other)}
    )
    with world.request(), world.request(other), world.request(other):
        assert world.notes.requests == {"app": 1, "other": 2}


def test_what_is_denied_for_another_reason_is_counted_by_client_where_there_is_one(world: World) -> None:
    world.gate.note_denial([f"Bearer {world.token}"])
    world.gate.note_denial([])

    assert world.notes.refusals == {("app", "permission_denied"): 1, ("unknown", "permission_denied"): 1}


@given(
    per_second=st.floats(0.01, 1000),
    pauses=st.lists(st.floats(0, 2, allow_subnormal=False), min_size=1, max_size=60),
)
def test_no_span_of_time_lets_through_more_than_its_seconds_and_one_burst(
    per_second: float, pauses: list[float]
) -> None:
    now, taken = 0.0, 0
    rate = Rate(per_second, now)
    for pause in pauses:
        now += pause
        waits = rate.take(now)
        taken += waits == 0
        assert waits <= 1 / per_second
        assert taken <= max(1.0, per_second) + now * per_second + 1e-6


def test_a_client_may_wait_as_long_as_it_is_told_and_is_let_in() -> None:
    rate, now = Rate(0.1, 0.0), 0.0
    for _ in range(5):
        while seconds := rate.take(now):
            now += seconds

    assert now == pytest.approx(40.0)
