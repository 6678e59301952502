"""When the native server answers by itself."""

from __future__ import annotations

from typing import Any, cast

from structlog.testing import capture_logs

from seqserve.access.gate import Gate
from seqserve.native_front.hot_path import HotPath
from seqserve.tracing import NoTracing, Tracing
from support.access import Tokens
from support.native import FakeServer


def switched(gate: Gate, tracing: Any, *, looks: int = 1) -> tuple[FakeServer, list[str]]:
    server = FakeServer()
    path = HotPath(cast("Any", server), gate, cast("Tracing", tracing))
    with capture_logs() as logged:
        for _ in range(looks):
            path.look()
    return server, [line["reason"] for line in logged]


def test_it_is_hot_where_nobody_needs_a_token_and_nothing_is_traced() -> None:
    server, logged = switched(Gate(), NoTracing())
    assert (server.did, logged) == ([("set_hot", True)], [])


def test_with_clients_each_call_is_pythons_and_the_log_says_so_once() -> None:
    gate = Gate()
    gate.follow(Tokens().clients())
    server, logged = switched(gate, NoTracing(), looks=2)
    assert server.did == [("set_hot", False)] * 2
    assert logged == ["clients have tokens, and limits of their own"]


def test_traced_calls_are_pythons() -> None:
    server, logged = switched(Gate(), object())
    assert server.did == [("set_hot", False)]
    assert logged == ["calls are traced"]
