"""The native server as the main port, over a server that is none."""

from __future__ import annotations

import errno
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from seqserve.errors import AddressInUse
from seqserve.native_front.calls import Calls
from seqserve.native_front.internal_errors import InternalErrors
from seqserve.native_front.listener import NativeListener, news_of
from seqserve.native_front.streams import NativeStreams
from support.native import NEVER, FakeServer


def listener(server: FakeServer, **own: Any) -> NativeListener:
    streams = NativeStreams(cast("Any", None), NEVER)
    return NativeListener(cast("Any", server), Calls([], NEVER), streams, **own)


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1:0"), ("localhost", "localhost:0"), ("::1", "[::1]:0")]
)
async def test_it_listens_where_it_is_told_to(host: str, address: str) -> None:
    server = FakeServer()
    assert await listener(server).start(host, 0) == 4711
    assert server.did == [("listen", address, None)]


async def test_a_taken_port_is_told_in_the_words_of_the_python_front() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            AddressInUse, match=rf"^grpc_port: cannot listen on 127\.0\.0\.1:{port}: "
        ) as refused:
            await listener(FakeServer()).start("127.0.0.1", port)
    assert refused.value.hint == "choose another with --grpc-port; 0 takes a free one"


async def test_where_grpc_itself_refuses_its_reason_is_told() -> None:
    server = FakeServer(OSError(errno.EACCES, "Permission denied"))
    with pytest.raises(AddressInUse, match="Permission denied"):
        await listener(server).start("127.0.0.1", 0)


async def test_its_end_is_the_servers_and_leaves_nothing() -> None:
    server = FakeServer()
    await listener(server).stop(1.5)
    await listener(server).stop(-1.0)
    assert server.did == [("stop", 1_500_000_000), ("stop", 0)]


def test_an_identity_is_given_once_and_again_when_it_changes() -> None:
    first, second = (
        SimpleNamespace(key_pem=key, chain_pem=b"chain", client_ca_pem=None) for key in (b"1", b"2")
    )
    found = [first]
    news = news_of(cast("Any", SimpleNamespace(current=lambda: found[-1])))
    assert (news(), news()) == ((b"1", b"chain", None), None)
    found.append(second)
    assert (news(), news()) == ((b"2", b"chain", None), None)


@pytest.mark.parametrize(
    ("fault", "words"),
    [(0, "tiny version 1 answered what its signature does not allow"), (7, "out of order")],
)
def test_an_internal_error_is_logged_with_what_lies_behind_it(fault: int, words: str) -> None:
    errors = InternalErrors({7: RuntimeError("out of order")}.get)
    with capture_logs() as logged:
        errors.news()["internal"]("tiny", "1", "/inference.GRPCInferenceService/ModelInfer", "id-1", fault)
    [line] = logged
    assert (line["event"], line["method"], line["request_id"]) == (
        "call failed", "inference.GRPCInferenceService.ModelInfer", "id-1",
    )  # fmt: skip
    assert str(line["exc_info"]) == words


def test_an_error_that_is_forgotten_is_logged_all_the_same() -> None:
    with capture_logs() as logged:
        InternalErrors(lambda _: None).note("tiny", "1", "/a.B/C", "id-1", 9)
    assert [line["event"] for line in logged] == ["call failed"]
