"""perf_analyzer measures a gateway with real digits: no request fails at any concurrency."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from support import perf_analyzer
from support.digits import Digits
from support.perf_analyzer import Measured
from support.served import Served

pytestmark = pytest.mark.long

ASYNC = ("--async", "--max-threads", "1")
PROTOCOLS = {
    "grpc": ("-i", "grpc", *ASYNC),
    "streaming": ("-i", "grpc", "--streaming", *ASYNC),
    "http": ("-i", "http", *ASYNC),
}
SWEEP = (1, 4, 16, 64)
DELAYED_ACKNOWLEDGEMENT_US = 40_000
"""What Linux waits before it acknowledges half an answer, and the server before it sends the rest."""

# Protocol, concurrency and further options in; what it measured out.
Measure = Callable[..., Measured]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    made = tmp_path_factory.mktemp("perf")
    perf_analyzer.write_input(made / "input.json", digits.rows)
    return made


@pytest.fixture(autouse=True)
def _row(record_property: Any) -> None:
    record_property("client", perf_analyzer.version())


def address(gateway: Served, protocol: str) -> str:
    return gateway.http.removeprefix("http://") if protocol == "http" else gateway.grpc


@pytest.fixture
def measure(folder: Path, open_gateway: Served, record_property: Any) -> Measure:
    """Runs it. The gateway's own count must say as well that nothing was refused and nothing failed."""

    def run(protocol: str, concurrency: int, *options: str) -> Measured:
        before = requests_by_code(open_gateway)
        measured = perf_analyzer.measure(
            folder, concurrency, "-u", address(open_gateway, protocol), *PROTOCOLS[protocol], *options
        )
        record_property("measured", str(measured))
        after = requests_by_code(open_gateway)
        assert after.pop("OK") - before.pop("OK", 0) >= measured.answered > concurrency
        assert after == before
        return measured

    return run


def requests_by_code(gateway: Served) -> dict[str, float]:
    """seqserve_requests_total of the model, from /metrics."""
    found: dict[str, float] = {}
    for line in httpx.get(f"{gateway.http}/metrics").text.splitlines():
        if line.startswith("seqserve_requests_total{") and 'model="digit_mlp"' in line:
            code = line.partition('code="')[2].partition('"')[0]
            found[code] = found.get(code, 0) + float(line.rpartition(" ")[2])
    return found


@pytest.mark.parametrize("concurrency", SWEEP)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_concurrency_sweep(measure: Measure, protocol: str, concurrency: int) -> None:
    assert measure(protocol, concurrency).inferences_per_second > 0


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_four_callers_with_requests_of_8_examples(measure: Measure, protocol: str) -> None:
    measured = measure(protocol, 4, "-b", "8")

    assert measured.inferences_per_second > 0


def test_four_callers_with_tensors_as_json(measure: Measure) -> None:
    measured = measure("http", 4, "--input-tensor-format", "json", "--output-tensor-format", "json")

    assert measured.inferences_per_second > 0


def test_a_lone_caller_over_http_waits_for_no_delayed_acknowledgement(measure: Measure) -> None:
    assert measure("http", 1).p50_us < DELAYED_ACKNOWLEDGEMENT_US


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_bytes_are_refused_as_not_finite(folder: Path, open_gateway: Served, protocol: str) -> None:
    options = ("-u", address(open_gateway, protocol), *PROTOCOLS[protocol])

    with pytest.raises(AssertionError, match=r"nan at .*accepted: finite numbers"):
        perf_analyzer.measure(folder, 1, *options, source="random")
