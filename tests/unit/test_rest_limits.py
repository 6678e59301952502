"""The bytes that request bodies may hold together."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from seqserve.errors import Overloaded
from seqserve.http_api.limits import Buffered, HttpLimits
from support.rest import INFER, Port, infer_document


def test_shares_are_counted_together_and_given_back() -> None:
    buffered = Buffered(10)
    with buffered.share() as first:
        first.take(4)
        with buffered.share() as second:
            second.take(6)
            with pytest.raises(Overloaded):
                first.take(1)
        first.take(6)
    with buffered.share() as third:
        third.take(10)


def test_what_was_refused_is_not_held() -> None:
    buffered = Buffered(10)
    with buffered.share() as share:
        with pytest.raises(Overloaded):
            share.take(11)
        share.take(10)


async def test_a_body_without_room_is_turned_away_and_probes_are_answered(tmp_path: Path) -> None:
    text = json.dumps(infer_document()).encode()
    port = Port(limits=HttpLimits(len(text), 30.0, buffered_bodies=1))
    async with await port.client(tmp_path) as http:
        port.engine.hold()
        waiting = asyncio.create_task(http.post(INFER, content=text))
        await port.engine.entered.wait()
        refused = await http.post(INFER, content=text)
        healthy, measured = await http.get("/healthz"), await http.get("/metrics")
        port.engine.gate.set()
        answered = [await waiting, await http.post(INFER, content=text)]

    assert (refused.status_code, refused.json()["reason"]) == (429, "OVERLOADED")
    assert refused.headers["retry-after"] == "1"
    assert (healthy.status_code, measured.status_code) == (200, 200)
    assert [reply.status_code for reply in answered] == [200, 200]
