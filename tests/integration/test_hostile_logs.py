"""Log injection: whatever callers write, one line is one event, and its control characters are escaped.

At debug level, where refusals are logged with the words that came.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import numpy as np
import pytest
import structlog

from seqserve.gateway import Gateway
from seqserve.logs import configure_logs, set_log_level
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.v1 import prediction_pb2
from support import http2
from support.access import Tokens
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub, prediction_stub
from support.rest import INFER, infer_document

GOOD = np.full((1, 2, 3), 0.25, np.float32)
FORGED = "forged-by-a-caller"
WORDS = [
    f"\n2026-01-01T00:00:00Z [info     ] {FORGED}",
    f'\r\n{{"event": "{FORGED}", "level": "info"}}\n',
    f"\x1b[2J\x1b[1;31m{FORGED}\x1b]0;title\x07",
    f'", "event": "{FORGED}", "x": "',
    f"\u2028{FORGED}\u2029\x85\x0b\x0c",
    f"{FORGED}\0\x7f\x9b31m",
    "%s %(event)s {event}",
]
CONSOLE_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[(debug|info|warning|error) *\] ")
MOST_CHARACTERS = 1000
COLOURS = re.compile(r"\x1b\[\d*m")


@pytest.fixture(params=["json", "console"])
def log_format(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The gateway's own logs in that format; other tests get theirs back."""
    configure = structlog.configure
    monkeypatch.setattr(
        structlog, "configure", lambda **given: configure(**given | {"cache_logger_on_first_use": False})
    )
    return str(request.param)


@asynccontextmanager
async def logged(
    folder: Path, engine: FakeEngine, log_format: str, **settings: Any
) -> AsyncIterator[Gateway]:
    """A gateway that logs at debug level to the present standard error; capfd's is another in fixtures."""
    settings = {"admin_on_inference_port": True, **settings}
    async with running_gateway([make_archive(folder)], engine, **settings) as gateway:
        configure_logs("debug", log_format)
        try:
            yield gateway
        finally:
            set_log_level("info")


async def refused(call: Awaitable[Any]) -> None:
    with suppress(grpc.aio.AioRpcError):
        await call


async def say(gateway: Gateway, words: str) -> None:
    """The words in every place where a caller may write."""
    printable = "".join(character for character in words if character.isascii() and character.isprintable())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        stub, request = inference_stub(channel), infer_request(GOOD, id=words, name=words)
        request.parameters[f"sequence_{words}"].string_param = words
        await refused(stub.ModelInfer(request))
        named = (("x-request-id", printable.strip()),)
        await refused(stub.ModelInfer(infer_request(GOOD, model=words), metadata=named))
        await refused(
            stub.ModelInfer(
                infer_request(GOOD, version=words), metadata=(("x-request-id-bin", words.encode()),)
            )
        )
        await refused(stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=words)))
        await refused(prediction_stub(channel).Predict(prediction_pb2.PredictRequest(model=words, id=words)))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
        await http.post(INFER, json=infer_document(id=words, name=words))
        await http.post(f"/v2/models/{quote(words, safe='')}/infer", json=infer_document())
        await http.get(f"/{quote(words, safe='')}")
    await raw(gateway, f"GET /v2/models/x HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: {printable}\r\n\r\n")
    await raw(gateway, f"{printable} /\x1b[31m HTTP/1.1\r\n\r\n")


async def say_as_a_stranger(gateway: Gateway, words: str) -> None:
    """The words where one without a token may write: paths, methods of gRPC and what it says who it is."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        await refused(channel.unary_unary(f"/{quote(words, safe='')}/x", None, None)(b""))
        await refused(inference_stub(channel).ModelInfer(infer_request(GOOD, model=words, id=words)))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
        path = quote(words, safe="")
        for method in ("GET", "POST"):
            await http.request(method, f"/{path}", headers={"authorization": f"Bearer {path}"})
        await http.get(f"/v2/models/{path}")
        await http.post(f"/v2/repository/models/{path}/load")


async def raw(gateway: Gateway, text: str) -> None:
    """What no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port)
    writer.write(text.encode("latin-1", "replace"))
    writer.write_eof()
    with suppress(ConnectionError):
        await reader.read()
    writer.close()


async def test_one_line_is_one_event_whatever_callers_write(
    tmp_path: Path, engine: FakeEngine, log_format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with logged(tmp_path, engine, log_format) as gateway:
        capfd.readouterr()
        for words in WORDS:
            await say(gateway, words)
    text = capfd.readouterr().err

    assert text.count("\n") >= 6 * len(WORDS)  # the refusals are logged
    check_lines(text, log_format)


async def test_so_it_is_for_strangers_where_callers_need_a_token(
    tmp_path: Path, engine: FakeEngine, log_format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with logged(tmp_path, engine, log_format, clients=Tokens().clients()) as gateway:
        capfd.readouterr()
        for words in [*WORDS, "x" * 20_000]:
            await say_as_a_stranger(gateway, words)
    text = capfd.readouterr().err

    assert text.count("\n") >= 5 * len(WORDS)
    assert max(map(len, text.splitlines())) < MOST_CHARACTERS
    check_lines(text, log_format)


async def test_what_grpc_itself_makes_of_headers_forges_no_line(
    tmp_path: Path, engine: FakeEngine, log_format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    names = (b"grpc-timeout", b"grpc-encoding")
    async with logged(tmp_path, engine, log_format) as gateway:
        for name in names:
            header = (name, f'1\n{{"event": "{FORGED}"}}'.encode())
            headers = http2.header_block(
                http2.call_headers("/inference.GRPCInferenceService/ModelInfer", header)
            )
            async with http2.connected(gateway.grpc_port) as peer:
                await peer.send(http2.frame(http2.HEADERS, headers, stream=1, flags=http2.END_HEADERS))
                await peer.body(1, http2.message(b""))
                await peer.until_over(1)

    assert FORGED not in capfd.readouterr().err


def check_lines(text: str, log_format: str) -> None:
    """Each is one event, with nothing in it that a terminal would obey."""
    lines = text.rstrip("\n").split("\n")
    if log_format == "json":
        events = [json.loads(line) for line in lines]
        assert {event["event"] for event in events} == {"call refused"}
        assert all(isinstance(event["reason"], str) for event in events)
    else:
        text = COLOURS.sub("", text)
        assert all(CONSOLE_LINE.match(line) for line in text.rstrip("\n").split("\n"))
        assert {line.split("] ")[1].strip().startswith("call refused") for line in text.splitlines()} == {
            True
        }
    unprintable = {character for character in text if not character.isprintable()} - {"\n"}
    assert not unprintable
