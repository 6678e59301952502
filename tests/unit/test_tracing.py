"""Which trace a caller says a call belongs to."""

from __future__ import annotations

import pytest

from seqserve.tracing import trace_id_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header", [f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00", f"cc-{TRACE}-{PARENT}-01-more"]
)
def test_a_valid_traceparent_names_it(header: str) -> None:
    assert trace_id_of({"traceparent": header}) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        TRACE,
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"cc-{TRACE}-{PARENT}-01more",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE[:-1]}-{PARENT}-01",
    ],
)
def test_any_other_names_none(header: str) -> None:
    assert trace_id_of({"traceparent": header}) == ""


def test_no_traceparent_names_none() -> None:
    assert trace_id_of({}) == ""
