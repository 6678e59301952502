"""What docs/tracing.md shows: a receiver that prints, a gateway that is traced, and a call's tree."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from support.oip import infer_request, inference_stub
from support.otlp import PHASES, TRACE_ID, traceparent
from support.served import START_SECONDS, environment, serving

pytestmark = pytest.mark.long
TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "tracing.md").read_text()
DIGIT = np.full((1, 28, 28), 0.25, np.float32)
LINE = re.compile(r" to [\d.]+ ms  (\S.*)$", re.MULTILINE)


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The example, what it prints, and its endpoint."""
    printed = tmp_path / "printed.txt"
    with printed.open("wb") as out:
        command = [sys.executable, "-m", "examples.print_traces", "0"]
        process = subprocess.Popen(command, stdout=out, cwd=TOP, env=environment())
    try:
        address = wait_for(printed, r"listening on (\S+)")
        yield printed, f"http://{address}"
    finally:
        process.kill()
        process.wait()


def wait_for(file: Path, pattern: str) -> str:
    """What the pattern's group matches, once it does."""
    deadline = time.monotonic() + START_SECONDS
    while (found := re.search(pattern, file.read_text())) is None:
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)
    return found[1]


def test_a_call_is_printed_as_the_page_shows_it(
    tmp_path: Path, store: Path, printer: tuple[Path, str]
) -> None:
    printed, endpoint = printer
    with (
        serving(tmp_path, store, "--otlp-endpoint", endpoint) as gateway,
        grpc.insecure_channel(gateway.grpc) as channel,
    ):
        metadata = (("x-request-id", "order-7"), traceparent())
        inference_stub(channel).ModelInfer(infer_request(DIGIT, model="digit_mlp"), metadata=metadata)

    text = printed.read_text()
    assert f"trace {TRACE_ID}" in text
    assert LINE.findall(text) == ["inference.GRPCInferenceService.ModelInfer", *PHASES]
    assert LINE.findall(PAGE) == LINE.findall(text)
    assert attributes_in(PAGE) == attributes_in(text)


def attributes_in(text: str) -> list[str]:
    """Names, in their order, of what the printed spans say."""
    return re.findall(r"^ {6,}([a-z_.]+) = ", text, re.MULTILINE)
