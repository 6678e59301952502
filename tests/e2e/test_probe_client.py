"""Health probes as an orchestrator sends them: gRPC on both ports, and HTTP by curl in test_curl_client.py."""

from __future__ import annotations

from typing import Any

import pytest

from support.clients import Told, ask
from support.served import Served

SERVING = (
    "",
    "liveness",
    "inference.GRPCInferenceService",
    "seqserve.v1.PredictionService",
    "model/digit_mlp",
    "model/digit_mlp/1",
)


@pytest.fixture(scope="module", params=["main", "health"])
def told(request: pytest.FixtureRequest, open_gateway: Served) -> Told:
    address = open_gateway.grpc if request.param == "main" else open_gateway.health
    seen = ask("probe.py", address, *SERVING, "model/nobody")
    return Told(f"{seen.client} on the {request.param} port", seen.outcomes)


@pytest.fixture(autouse=True)
def _row(told: Told, record_property: Any) -> None:
    record_property("client", told.client)


@pytest.mark.parametrize("service", SERVING, ids=["overall", *SERVING[1:]])
def test_check_says_serving_for(told: Told, service: str) -> None:
    assert told[service] == "SERVING"


def test_check_of_what_is_not_there_is_not_found(told: Told) -> None:
    assert told["model/nobody"] == "NOT_FOUND"


def test_watch_begins_with_the_status(told: Told) -> None:
    assert told["watch"] == "SERVING"
