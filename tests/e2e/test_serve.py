"""`seqserve serve` as a process: what it answers, how it stops, and what keeps it from starting."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from seqserve.archive import Archive, read_archive
from seqserve.client import Client, PredictionError
from seqserve.pb import inference_pb2 as pb
from seqserve.trust import UNCHECKED
from support.oip import infer_request, inference_stub, rows_of
from support.served import POLL_SECONDS, Served, plain_lines, run, serving, started

SERVING = health_pb2.HealthCheckResponse.SERVING
DELAY_SECONDS, ALL_TIME = 3600, 86400


@pytest.fixture(scope="module")
def archive(store: Path) -> Archive:
    return read_archive(store / "digit_mlp-1.mar", UNCHECKED)


def health(channel: grpc.Channel, service: str) -> int:
    return int(HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service)).status)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_open_inference_protocol_answers_as_the_eager_model_did(
    gateway: Served, archive: Archive
) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel:
        reply = inference_stub(channel).ModelInfer(infer_request(archive.golden_inputs, model="digit_mlp"))

    assert (reply.model_name, reply.model_version) == ("digit_mlp", "1")
    np.testing.assert_allclose(rows_of(reply), archive.golden_outputs, rtol=1e-5, atol=1e-5)


def test_our_own_api_answers_with_labels_and_a_receipt(gateway: Served, archive: Archive) -> None:
    with Client(gateway.grpc) as client:
        reply = client.predict(archive.golden_inputs, model="digit_mlp", top_k=1)

    assert [answer.label for answer in reply.answers] == [str(row.argmax()) for row in archive.golden_outputs]
    assert (reply.receipt.engine, reply.receipt.archive_sha256) == ("embedded", archive.sha256)


def test_http_tells_probes_and_prometheus(gateway: Served) -> None:
    with Client(gateway.grpc) as client:
        client.predict(np.zeros((3, 784), np.float32), model="digit_mlp")
    with httpx.Client(base_url=gateway.http) as http:
        assert http.get("/healthz").status_code == http.get("/readyz").status_code == 200
        metrics = http.get("/metrics").text

    assert re.search(r'seqserve_requests_total\{code="OK",model="digit_mlp",version="1"\} [1-9]', metrics)
    assert 'seqserve_model_state{model="digit_mlp",state="ready",version="1"} 1.0' in metrics


def wait_until_queued(gateway: Served, waiting: grpc.Future[pb.ModelInferResponse]) -> None:
    """Return when the only request is in its queue, or has been answered already."""
    queued = 'seqserve_queued_examples{model="digit_mlp",version="1"} 1.0'
    while not waiting.done() and queued not in httpx.get(f"{gateway.http}/metrics").text:
        time.sleep(POLL_SECONDS)


def in_flight(
    gateway: Served, channel: grpc.Channel, *, timeout: float = 60
) -> Callable[[], pb.ModelInferResponse]:
    """A request that waits for a fuller batch; call the result to get its answer.

    timeout: in seconds; one that does not last until the batch is due is answered at once.
    """
    request = infer_request(np.zeros((1, 784), np.float32), model="digit_mlp")
    waiting = inference_stub(channel).ModelInfer.future(request, timeout=timeout)
    wait_until_queued(gateway, waiting)
    result: Callable[[], pb.ModelInferResponse] = waiting.result
    return result


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_answers_in_flight(
    tmp_path: Path, store: Path, number: signal.Signals
) -> None:
    with (
        serving(tmp_path, store, "--max-queue-delay-seconds=1.5") as gateway,
        grpc.insecure_channel(gateway.grpc) as channel,
    ):
        answer = in_flight(gateway, channel)
        assert gateway.end(number) == 0
        assert rows_of(answer()).shape == (1, 10)

    assert list(gateway.events())[-2:] == ["draining", "stopped"]
    assert plain_lines(gateway.log.read_text()) == []


def test_a_second_signal_leaves_at_once(tmp_path: Path, store: Path) -> None:
    options = (
        f"--max-queue-delay-seconds={DELAY_SECONDS}",
        f"--max-timeout-seconds={ALL_TIME}",
        f"--drain-grace-seconds={ALL_TIME}",
    )
    with (
        serving(tmp_path, store, *options) as gateway,
        grpc.insecure_channel(gateway.grpc) as channel,
    ):
        answer = in_flight(gateway, channel, timeout=ALL_TIME)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for("draining")

        assert gateway.end(signal.SIGTERM) == 130
        with pytest.raises(grpc.RpcError):
            answer()
    assert "stopped" not in gateway.events()


def test_a_signal_while_it_starts_ends_it_too(tmp_path: Path, store: Path) -> None:
    with started(tmp_path, store) as gateway:
        gateway.wait_for("listening")

        assert gateway.end() == 0
    assert "serving" not in gateway.events()


def test_kill_9_leaves_nothing_running(tmp_path: Path, store: Path) -> None:
    with serving(tmp_path, store, "--with-torchserve") as gateway:
        keys = Path(gateway.events()["torchserve started"]["tokens"])
        assert len(gateway.family()) == 4  # the gateway, the leash's holder, Java, one worker
        assert keys.exists()

        assert gateway.end(signal.SIGKILL) == -signal.SIGKILL

    assert not keys.parent.exists()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("front", ["grpc", "http"])
def test_a_port_in_use_is_exit_status_2_and_one_line_that_names_it(
    store: Path, taken: int, front: str
) -> None:
    ports = {"grpc": 0, "http": 0} | {front: taken}
    ended = run(
        "serve",
        "--model-store",
        store,
        "--log-format=json",
        f"--grpc-port={ports['grpc']}",
        f"--http-port={ports['http']}",
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = plain_lines(ended.stderr)
    assert line.startswith(f"seqserve: {front}_port: cannot listen on 127.0.0.1:{taken}")
    assert f"--{front}-port" in line


def test_a_missing_store_is_exit_status_2_and_one_line(tmp_path: Path) -> None:
    ended = run("serve", "--model-store", tmp_path / "nowhere")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"seqserve: there is no model store at {tmp_path / 'nowhere'} "
        "(`seqserve build` makes one; `--model-store` names another)\n"
    )


@pytest.mark.long  # tests/integration/test_health_and_metrics.py shows it in the process
def test_an_empty_store_is_live_and_not_ready(tmp_path: Path) -> None:
    empty = tmp_path / "model-store"
    empty.mkdir()
    with (
        serving(tmp_path, empty) as gateway,
        grpc.insecure_channel(gateway.grpc) as channel,
        httpx.Client(base_url=gateway.http) as http,
    ):
        assert health(channel, "liveness") == SERVING
        assert health(channel, "") != SERVING
        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 503


def test_settings_come_from_the_environment_too(tmp_path: Path, store: Path) -> None:
    with (
        serving(tmp_path, store, SEQSERVE_MAX_REQUEST_EXAMPLES="2") as gateway,
        Client(gateway.grpc) as client,
    ):
        assert len(client.predict(np.zeros((2, 784), np.float32), model="digit_mlp").answers) == 2
        with pytest.raises(PredictionError, match="at most 2 in one request"):
            client.predict(np.zeros((3, 784), np.float32), model="digit_mlp")


def test_an_archive_with_one_byte_flipped_is_refused_and_the_good_one_serves(
    tmp_path: Path, two_lines: Path
) -> None:
    both = shutil.copytree(two_lines, tmp_path / "model-store")
    flip_a_byte(both / "line-2.mar")

    inspected = run("inspect", both / "line-2.mar")
    assert (inspected.returncode, inspected.stdout) == (1, "")
    assert "line-2.mar: SHA-256 is" in inspected.stderr
    assert run("inspect", both / "line-1.mar").returncode == 0

    with serving(tmp_path, both) as gateway, Client(gateway.grpc) as client:
        assert client.predict(np.zeros(1, np.float32), model="line").version == "1"
        states = {model.version: model.state for model in client.models()}
        refused = gateway.events()["model refused"]
    assert states == {"1": "ready", "2": "failed"}
    assert refused["archive"] == "line-2.mar"
    assert "SHA-256 is" in refused["reason"]
