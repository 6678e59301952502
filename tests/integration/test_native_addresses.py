"""Where the native server itself cannot listen, the gateway says why."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from seqserve.errors import AddressInUse
from seqserve.native_front import library
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway

pytestmark = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not())


async def test_a_port_that_is_taken_is_named_with_the_systems_reason(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqserve.native_front.listener.try_to_bind", lambda *_: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            AddressInUse, match=rf"^grpc_port: cannot listen on .*:{port}: Address already in"
        ):
            async with running_gateway([make_archive(tmp_path)], engine, front="native", grpc_port=port):
                pass
