"""Lines about calls: each names the request, its trace, the model and its version."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import structlog

from seqserve.errors import EngineContractError
from seqserve.gateway import Gateway
from seqserve.logs import configure_logs, set_log_level
from seqserve.otlp import OtlpTracing
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub
from support.otlp import TRACE_ID, receiving, traceparent
from support.rest import INFER, infer_document

IMAGE = np.full((1, 2, 3), 0.25, np.float32)
GRPC_METHOD = "inference.GRPCInferenceService.ModelInfer"
HTTP_METHOD = "POST /v2/models/{model}/infer"


@pytest.fixture(autouse=True)
def own_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests get theirs back."""
    configure = structlog.configure
    monkeypatch.setattr(
        structlog, "configure", lambda **given: configure(**given | {"cache_logger_on_first_use": False})
    )


@asynccontextmanager
async def logged(
    folder: Path, engine: FakeEngine, level: str, tracing: Any = None, **settings: Any
) -> AsyncIterator[Gateway]:
    """A gateway that logs as JSON to the present standard error, once it is up."""
    async with running_gateway([make_archive(folder)], engine, tracing=tracing, **settings) as gateway:
        configure_logs(level, "json")
        try:
            yield gateway
        finally:
            set_log_level("info")


async def ask(gateway: Gateway, **request: Any) -> None:
    """The same request over gRPC, as `g`, and HTTP, as `h`, in a trace."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        metadata = (("x-request-id", "g"), traceparent())
        call = inference_stub(channel).ModelInfer(infer_request(IMAGE, **request), metadata=metadata)
        await call.code()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
        headers = dict([traceparent(), ("x-request-id", "h")])
        path = INFER.replace("tiny", request.get("model", "tiny"))
        await http.post(path, json=infer_document(), headers=headers)


def lines_of(text: str, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in found)
    return [line for line in found if line["event"] == event]


async def test_a_call_that_fails_is_an_error_with_all_that_is_known(
    tmp_path: Path, engine: FakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    async with logged(tmp_path, engine, "info") as gateway:
        capfd.readouterr()
        engine.fault = EngineContractError("nonsense")
        await ask(gateway)

    lines = lines_of(capfd.readouterr().err, "call failed")
    assert [line["request_id"] for line in lines] == ["g", "h"]
    assert [line["method"] for line in lines] == [GRPC_METHOD, HTTP_METHOD]
    assert [line["code"] for line in lines] == ["INTERNAL", 500]
    for line in lines:
        assert (line["level"], line["model"], line["version"]) == ("error", "tiny", "1")
        assert line["exception"][0]["exc_value"] == "nonsense"


async def test_its_trace_is_named_where_python_answers(
    tmp_path: Path, engine: FakeEngine, capfd: pytest.CaptureFixture[str], front: str
) -> None:
    async with logged(tmp_path, engine, "info") as gateway:
        capfd.readouterr()
        engine.fault = EngineContractError("nonsense")
        await ask(gateway)

    traces = [line.get("trace_id") for line in lines_of(capfd.readouterr().err, "call failed")]
    assert traces == [None if front == "native" else TRACE_ID, TRACE_ID]


async def test_with_traces_each_line_names_its_own(
    tmp_path: Path, engine: FakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    async with (
        receiving() as (receiver, endpoint),
        logged(tmp_path, engine, "info", OtlpTracing(endpoint)) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        capfd.readouterr()
        engine.fault = EngineContractError("nonsense")
        await (
            inference_stub(channel)
            .ModelInfer(infer_request(IMAGE), metadata=(("x-request-id", "own"),))
            .code()
        )

    [line] = lines_of(capfd.readouterr().err, "call failed")
    assert line["trace_id"] == receiver.call("own").trace_id.hex()


async def test_at_debug_level_each_call_that_python_answers_has_a_line(
    tmp_path: Path, engine: FakeEngine, capfd: pytest.CaptureFixture[str], front: str
) -> None:
    async with logged(tmp_path, engine, "debug") as gateway:
        capfd.readouterr()
        await ask(gateway)
    text = capfd.readouterr().err

    lines = {line["request_id"]: line for line in lines_of(text, "call answered")}
    assert sorted(lines) == (["h"] if front == "native" else ["g", "h"])
    for line in lines.values():
        assert (line["model"], line["version"], line["examples"]) == ("tiny", "1", 1)
        assert line["code"] in ("OK", 200)
        assert line["trace_id"] == TRACE_ID
        assert line["seconds"] >= 0


async def test_what_is_refused_names_the_model_that_was_asked_for(
    tmp_path: Path, engine: FakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    async with logged(tmp_path, engine, "debug") as gateway:
        capfd.readouterr()
        await ask(gateway, model="no" * 100)

    lines = {line["request_id"]: line for line in lines_of(capfd.readouterr().err, "call refused")}
    assert sorted(lines) == ["g", "h"]
    for line in lines.values():
        assert line["model"] == "no" * 62 + "n..."
        assert "version" not in line
        assert line["trace_id"] == TRACE_ID


async def test_at_info_level_callers_write_nothing(
    tmp_path: Path, engine: FakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    async with logged(tmp_path, engine, "info") as gateway:
        capfd.readouterr()
        await ask(gateway)
        await ask(gateway, model="nobody")
        assert capfd.readouterr().err == ""
