"""tritonclient's gRPC streams, synchronous (start_stream, async_stream_infer) and for asyncio (stream_infer)."""

from __future__ import annotations

from typing import Any

import pytest

from support.clients import Told, ask, assert_rows_agree
from support.digits import Digits
from support.served import Served


@pytest.fixture(scope="module", params=["grpc", "grpc.aio"])
def told(request: pytest.FixtureRequest, open_gateway: Served, digits: Digits) -> Told:
    return ask("triton_stream.py", str(request.param), open_gateway.grpc, digits.folder)


@pytest.fixture(autouse=True)
def _row(told: Told, record_property: Any) -> None:
    record_property("client", told.client)


def test_64_requests_in_flight_on_one_stream(told: Told, digits: Digits) -> None:
    rows = told["many"]

    assert len(rows) == 64
    assert_rows_agree([rows[str(number)] for number in range(64)], digits.expected)


def test_error_of_one_request_leaves_the_stream_open(told: Told) -> None:
    assert told["one_bad"]["answered"] == ["0", "1", "2", "4", "5", "6", "7"]
    [error] = told["one_bad"]["errors"]
    assert "[1,14,56]" in error


def test_timeout_of_one_request_leaves_the_stream_open(told: Told) -> None:
    assert told["deadline"]["answered"] == ["1"]
    [error] = told["deadline"]["errors"]
    assert "deadline" in error or "no answer within" in error
