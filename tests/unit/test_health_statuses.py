"""What health says of a name, and who is woken when that changes."""

from __future__ import annotations

import pytest

from seqserve.grpc_api.health_statuses import NOT_SERVING, SERVICE_UNKNOWN, SERVING, Statuses, Telling


@pytest.fixture
def statuses() -> Statuses:
    return Statuses()


def test_liveness_is_serving_and_anything_else_is_unknown_from_the_start(statuses: Statuses) -> None:
    assert statuses.find("liveness") == SERVING
    assert statuses.find("") is None


def test_a_drain_leaves_only_liveness_and_nothing_changes_after_it(statuses: Statuses) -> None:
    statuses.publish("", SERVING)
    statuses.publish("model/tiny", SERVING)

    statuses.drain()
    statuses.publish("", SERVING)
    statuses.publish("model/late", SERVING)
    statuses.withdraw("model/tiny")

    assert {name: statuses.find(name) for name in ("", "model/tiny", "model/late", "liveness")} == {
        "": NOT_SERVING,
        "model/tiny": NOT_SERVING,
        "model/late": None,
        "liveness": SERVING,
    }


def test_a_watcher_is_woken_by_every_change_for_as_long_as_it_listens(statuses: Statuses) -> None:
    woken: list[str] = []

    with statuses.waking(lambda: woken.append("")):
        statuses.publish("model/tiny", SERVING)
        statuses.withdraw("model/tiny")
        statuses.drain()
        statuses.end_watches()
    statuses.publish("model/tiny", SERVING)

    assert len(woken) == 4
    assert statuses.is_over


def test_a_watch_tells_a_status_once_and_an_unknown_name_as_such(statuses: Statuses) -> None:
    telling = Telling(statuses, "model/tiny")

    assert telling.news() == SERVICE_UNKNOWN
    assert telling.news() is None
    statuses.publish("model/tiny", NOT_SERVING)
    statuses.publish("model/tiny", SERVING)
    assert telling.news() == SERVING
    statuses.publish("model/other", SERVING)
    assert telling.news() is None
    statuses.withdraw("model/tiny")
    assert telling.news() == SERVICE_UNKNOWN
