"""The C++ load generator against an empty server: what it counts, and when latency begins."""

from __future__ import annotations

import http.server
import itertools
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bench.building import Programs
from bench.generator import Generator, GeneratorFailed, Load
from bench.load import WrongAnswer
from bench.messages import Rows
from bench.serving import Server, empty_cpp, first_right_answer
from bench.store import MODEL
from bench.wires import Door, http_raw, oip_doors
from seqserve.pb import inference_pb2

pytestmark = pytest.mark.long

ROWS = Rows("digit_mlp", np.zeros((1, 784), np.float32), np.full((1, 10), 0.1, np.float32))
OPEN = Load("open loop", rate=200.0)


@pytest.fixture
def server(programs: Programs, tmp_path: Path) -> Iterator[Server]:
    answer = inference_pb2.ModelInferResponse(model_name=ROWS.model)
    answer.outputs.add(name="probabilities", datatype="FP32", shape=ROWS.outputs.shape)
    answer.raw_output_contents.append(ROWS.outputs.tobytes())
    (tmp_path / "reply").write_bytes(answer.SerializeToString())
    with empty_cpp(programs.empty_server, tmp_path / "reply", min(os.sched_getaffinity(0))) as started:
        first_right_answer(started, ROWS)
        yield started


@pytest.fixture
def generator(programs: Programs, tmp_path: Path) -> Generator:
    return Generator(programs.loadgen, tmp_path, {(MODEL, 1): ROWS})


@contextmanager
def stopped(server: Server, after_seconds: float, seconds: float) -> Iterator[None]:
    """It does nothing for a while, in the middle of the block."""

    def stop() -> None:
        time.sleep(after_seconds)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        server.process.send_signal(signal.SIGCONT)

    stopping = threading.Thread(target=stop)
    stopping.start()
    yield
    stopping.join()


@pytest.mark.parametrize(
    "load",
    [
        Load("1 caller"),
        Load("64 callers", callers=64),
        Load("stream", in_flight=16),
        Load("4 streams", callers=4, in_flight=3),
    ],
    ids=lambda load: load.name,
)
def test_every_reply_counts_once(server: Server, generator: Generator, load: Load) -> None:
    outcome = generator.run(server.doors[load.form], load, 0.5)

    assert outcome.requests == outcome.good.count > 0
    assert outcome.throughput == pytest.approx(outcome.good.count / 0.5, rel=0.01)
    assert 0 < outcome.good.p50_us <= outcome.good.p99_us <= outcome.good.p999_us <= outcome.good.max_us
    assert outcome.cpu_share > 0


def test_an_open_loop_keeps_its_rate(server: Server, generator: Generator) -> None:
    outcome = generator.run(server.doors["raw"], OPEN, 1.0)

    assert outcome.requests + outcome.unanswered == pytest.approx(200, abs=2)


def test_a_request_that_is_late_counts_from_when_it_was_due(server: Server, generator: Generator) -> None:
    with stopped(server, after_seconds=1.0, seconds=1.0):
        outcome = generator.run(server.doors["raw"], OPEN, 2.5)

    # 200 of 500 fell due while the server stood still, the first of them for a second.
    assert outcome.requests + outcome.unanswered == pytest.approx(500, abs=5)
    assert outcome.good.p99_us > 900_000
    assert outcome.good.max_us > 950_000


def test_calls_past_their_deadline_are_errors_by_their_code(server: Server, generator: Generator) -> None:
    with stopped(server, after_seconds=0.6, seconds=1.0):
        outcome = generator.run(server.doors["raw"], Load("impatient", rate=200.0, deadline_seconds=0.2), 2.0)

    late = outcome.codes["DEADLINE_EXCEEDED"]
    assert outcome.errors == late.count > 100
    assert late.p50_us > 190_000


def test_nobody_there_is_a_failure(generator: Generator) -> None:
    with pytest.raises(GeneratorFailed, match=r"no connection to 127\.0\.0\.1:1$"):
        generator.run(oip_doors("127.0.0.1:1")["raw"], Load("1 caller"), 0.2)


def test_another_answer_than_the_rows_is_found(server: Server, programs: Programs, tmp_path: Path) -> None:
    others = Rows(ROWS.model, ROWS.inputs, ROWS.outputs * 2)

    with pytest.raises(WrongAnswer, match="1 caller, the first reply"):
        Generator(programs.loadgen, tmp_path, {(MODEL, 1): others}).run(
            server.doors["raw"], Load("1 caller"), 0.2
        )


class Web(http.server.BaseHTTPRequestHandler):
    """A server that keeps connections and answers every POST alike; every 10th with 503."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    asked = itertools.count(1)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        is_busy = next(self.asked) % 10 == 0
        body = b"busy" if is_busy else ROWS.outputs.astype("<f4").tobytes()
        self.send_response(503 if is_busy else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Backlogged(http.server.ThreadingHTTPServer):
    """One that lets all callers connect at once."""

    request_queue_size = 64


@pytest.fixture
def web() -> Iterator[Door]:
    with Backlogged(("127.0.0.1", 0), Web) as served:
        threading.Thread(target=served.serve_forever).start()
        yield Door(f"127.0.0.1:{served.server_port}", http_raw("/inference"))
        served.shutdown()


@pytest.mark.parametrize("callers", [1, 8])
def test_http_replies_count_once_and_refusals_by_their_status(
    web: Door, generator: Generator, callers: int
) -> None:
    outcome = generator.run(web, Load("HTTP", callers=callers), 0.5)

    assert outcome.errors == outcome.codes["HTTP_503"].count > 0
    assert outcome.errors == pytest.approx(outcome.requests / 10, rel=0.2, abs=2)
    assert outcome.throughput == pytest.approx(outcome.good.count / 0.5, rel=0.01)
    assert 0 < outcome.good.p50_us <= outcome.good.max_us


def test_a_large_body_goes_out_whole(web: Door, programs: Programs, tmp_path: Path) -> None:
    large = Rows(ROWS.model, np.zeros((4096, 784), np.float32), ROWS.outputs)

    outcome = Generator(programs.loadgen, tmp_path, {(MODEL, 1): large}).run(web, Load("1 caller"), 0.5)

    assert outcome.good.count > 0


def test_who_is_never_answered_is_counted(programs: Programs, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        options = ["--target", address, "--path", "/", "--callers", "3", "--seconds", "0.2"]
        body = tmp_path / "body"
        body.write_bytes(b"anybody?")

        done = subprocess.run(
            [programs.loadgen, *options, "--body", body], capture_output=True, text=True, check=True
        )

    told = json.loads(done.stdout)
    assert (told["requests"], told["unanswered"]) == (0, 3)


def test_no_web_server_is_a_failure(generator: Generator) -> None:
    with pytest.raises(GeneratorFailed, match=r"no connection to port 1$"):
        generator.run(Door("127.0.0.1:1", http_raw("/")), Load("1 caller"), 0.2)
