"""Open files: how many the connections take, the limit that is raised for them, and what is told where it cannot be."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from seqserve import server
from seqserve.doctor.files import check_files
from seqserve.errors import StoreMissing
from seqserve.grpc_api.health_port import MAX_CONNECTIONS
from seqserve.open_files import RESERVE, make_room, needed_files
from seqserve.settings import Settings
from seqserve.settings_reading import read_settings

pytestmark = pytest.mark.usefixtures("environment")
LOW = 256


@pytest.fixture
def hard() -> Iterator[int]:
    """The system's limit, with ours below it for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LOW, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def soft() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def settings(**flags: str) -> Settings:
    return read_settings({"front": "python"} | flags)


def test_the_native_front_takes_two_for_a_connection_to_its_port() -> None:
    native = settings(max_grpc_connections="1000", max_http_connections="500", admin_port="0", front="native")

    assert needed_files(native) == 3500 + RESERVE


def test_each_connection_that_there_may_be_takes_one() -> None:
    both = settings(max_grpc_connections="1000", max_http_connections="500")
    more = settings(max_grpc_connections="1000", max_http_connections="500", admin_port="0", health_port="0")

    assert needed_files(both) == 1500 + RESERVE
    assert needed_files(more) == 2500 + MAX_CONNECTIONS + RESERVE


def test_a_limit_that_is_too_low_is_raised(hard: int) -> None:
    with capture_logs() as logs:
        make_room(settings(max_grpc_connections="200", max_http_connections="200"))

    assert soft() == hard
    assert logs == []


@pytest.mark.usefixtures("hard")
def test_a_limit_that_will_do_is_left_as_it_is() -> None:
    make_room(settings(max_grpc_connections="20", max_http_connections="20"))

    assert soft() == LOW


def test_where_it_cannot_be_raised_far_enough_the_log_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    system = {"limits": (LOW, 1000)}
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(resource, "getrlimit", lambda _: system["limits"])
        patch.setattr(resource, "setrlimit", lambda _, limits: system.update(limits=limits))
        make_room(settings())

    assert system["limits"] == (1000, 1000)
    (warning,) = logs
    assert (warning["log_level"], warning["allowed"], warning["needed"]) == ("warning", 1000, 2148)
    assert "max_grpc_connections" in warning["hint"]


def test_a_system_that_does_not_let_it_be_raised_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, hard: int
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    assert hard > LOW
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(resource, "setrlimit", refuse)
        make_room(settings())

    assert [(one["log_level"], one["allowed"]) for one in logs] == [("warning", LOW)]


async def test_serve_raises_it_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hard: int) -> None:
    for name in ("configure_logs", "keep_heap", "limit_threads"):  # they change the whole process
        monkeypatch.setattr(server, name, lambda *_: None)
    with pytest.raises(StoreMissing):
        await server.serve(settings(model_store=str(tmp_path / "nowhere")))

    assert soft() == hard


@pytest.mark.parametrize(("allowed", "status"), [(2148, "ok"), (2147, "warning"), (-1, "ok")])
def test_the_doctor_looks_at_the_limit_that_serve_would_have(allowed: int, status: str) -> None:
    [finding] = check_files(settings(), allowed)

    assert finding.status == status
    if status == "warning":
        assert "2147" in finding.found
        assert "2148" in finding.found
        assert "--max-grpc-connections" in finding.advice
