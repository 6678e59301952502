"""Calls of the native server that Python answers, over a server that is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from seqserve.native_front.calls import NO_MESSAGE, NO_METHOD, Calls
from support.native import NEVER, FakeCall, FakeDesk, settle

SECOND = 1_000_000_000
EOF = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs leave it out


class World:
    """Calls with the handlers of one service `a.B`."""

    def __init__(self, **handlers: Any) -> None:
        self.calls = Calls([grpc.method_handlers_generic_handler("a.B", handlers)], NEVER)
        self.desk = FakeDesk(self.calls.news())

    def written(self, call: FakeCall, *, is_written: bool = True) -> None:
        self.desk.tell("written", call.id, is_written)

    def over(self, call: FakeCall, *, is_cancelled: bool = False) -> None:
        self.desk.tell("over", call.id, is_cancelled)


def unary(answer: Callable[..., Any], **own: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(answer, **own)


def stream(answer: Callable[..., Any], **own: Any) -> Any:
    return grpc.stream_stream_rpc_method_handler(answer, **own)


async def test_a_unary_call_has_one_reply_with_its_trailing_metadata() -> None:
    async def shout(body: bytes, context: Any) -> bytes:
        assert context.invocation_metadata() == (("key", "value"),)
        context.set_trailing_metadata((("x", "y"),))
        return body.upper()

    world = World(Shout=unary(shout))
    call = world.desk.call("/a.B/Shout", b"hi", metadata=[("key", "value")])
    await settle()
    assert call.did == [("reply", b"HI", (("x", "y"),))]

    world.over(call)
    assert not len(world.calls)


async def test_messages_pass_the_handlers_own_forms() -> None:
    async def double(number: int, _: Any) -> int:
        return 2 * number

    world = World(Double=unary(double, request_deserializer=int, response_serializer=lambda n: b"%d" % n))
    call = world.desk.call("/a.B/Double", b"21")
    await settle()
    assert call.did == [("reply", b"42", ())]


async def test_an_abort_ends_the_call_and_nothing_follows() -> None:
    async def refuse(_: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("forgotten", ""),))
        await context.abort(grpc.StatusCode.NOT_FOUND, "not here", (("x", b"\1"),))
        return b"never"

    world = World(Refuse=unary(refuse))
    call = world.desk.call("/a.B/Refuse", b"")
    await settle()
    assert call.did == [("finish", 5, "not here", (("x", b"\1"),))]


async def test_an_abort_that_the_handler_keeps_to_itself_stays_the_end() -> None:
    async def stubborn(_: bytes, context: Any) -> bytes:
        with suppress(grpc.aio.AbortError):
            await context.abort(grpc.StatusCode.NOT_FOUND, "not here")
        return b"all the same"

    call = World(Stubborn=unary(stubborn)).desk.call("/a.B/Stubborn", b"")
    await settle()
    assert call.did == [("finish", 5, "not here", ())]


async def test_an_exception_is_told_as_the_boundary_tells_it() -> None:
    async def fail(_: bytes, __: Any) -> bytes:
        raise ValueError("secret")

    with capture_logs() as logged:
        call = World(Fail=unary(fail)).desk.call("/a.B/Fail", b"", metadata=[("x-request-id", "mine")])
        await settle()
    [(what, code, words, trailing)] = call.did
    assert (what, code, words) == ("finish", 13, "internal error; request id mine")
    assert dict(trailing)["x-request-id"] == "mine"
    assert b"secret" not in dict(trailing)["grpc-status-details-bin"]
    assert [(line["event"], line["method"], line["request_id"]) for line in logged] == [
        ("call failed", "/a.B/Fail", "mine")
    ]


async def test_a_handler_that_fails_after_its_call_has_ended_is_left_alone() -> None:
    async def fail(_: bytes, context: Any) -> bytes:
        with suppress(grpc.aio.AbortError):
            await context.abort(grpc.StatusCode.NOT_FOUND, "not here")
        raise ValueError("secret")

    with capture_logs() as logged:
        call = World(Fail=unary(fail)).desk.call("/a.B/Fail", b"")
        await settle()
    assert call.did == [("finish", 5, "not here", ())]
    assert [line["method"] for line in logged] == ["/a.B/Fail"]


@pytest.mark.parametrize("path", ["/a.B/Other", "/c.D/Shout", "", "no path"])
async def test_what_nobody_handles_is_unimplemented(path: str) -> None:
    call = World().desk.call(path, b"")
    await settle()
    assert call.did == [("finish", 12, NO_METHOD, ())]


async def test_a_unary_call_whose_message_is_to_be_read_is_answered_too() -> None:
    async def shout(body: bytes, _: Any) -> bytes:
        return body.upper()

    world = World(Shout=unary(shout))
    call = world.desk.call("/a.B/Shout")
    await settle()
    world.desk.tell("message", call.id, b"hi")
    await settle()
    assert call.did == [("read",), ("reply", b"HI", ())]


async def test_a_unary_call_without_a_message_is_refused() -> None:
    async def shout(body: bytes, _: Any) -> bytes:
        return body.upper()

    world = World(Shout=unary(shout))
    call = world.desk.call("/a.B/Shout")
    await settle()
    world.desk.tell("message", call.id, None)
    await settle()
    assert call.did == [("read",), ("finish", 3, NO_MESSAGE, ())]


async def test_a_stream_reads_and_writes_until_its_caller_has_sent_all() -> None:
    async def echo(_: Any, context: Any) -> None:
        while (body := await context.read()) is not EOF:
            await context.write(body)

    world = World(Echo=stream(echo))
    call = world.desk.call("/a.B/Echo")
    for body in (b"1", b"2"):
        await settle()
        world.desk.tell("message", call.id, body)
        await settle()
        world.written(call)
    await settle()
    world.desk.tell("message", call.id, None)
    await settle()
    assert call.did == [
        ("read",), ("write", b"1"), ("read",), ("write", b"2"), ("read",), ("finish", 0, "", ()),
    ]  # fmt: skip


async def test_a_handler_may_yield_its_replies_and_loop_over_the_messages() -> None:
    async def echo(messages: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for body in messages:
            yield body * 2

    world = World(Echo=stream(echo))
    call = world.desk.call("/a.B/Echo")
    await settle()
    world.desk.tell("message", call.id, b"x")
    await settle()
    world.written(call)
    await settle()
    world.desk.tell("message", call.id, None)
    await settle()
    assert call.did == [("read",), ("write", b"xx"), ("read",), ("finish", 0, "", ())]


async def test_a_stream_may_be_given_its_first_message_with_the_call() -> None:
    async def first(_: Any, context: Any) -> None:
        await context.write(await context.read())

    world = World(First=stream(first))
    call = world.desk.call("/a.B/First", b"here")
    await settle()
    assert call.did == [("write", b"here")]


async def test_a_message_whose_reader_was_cancelled_is_the_next_readers() -> None:
    async def hasty(_: Any, context: Any) -> None:
        impatient = asyncio.create_task(context.read())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        await context.write(await context.read())

    world = World(Hasty=stream(hasty))
    call = world.desk.call("/a.B/Hasty")
    await settle()
    world.desk.tell("message", call.id, b"kept")
    await settle()
    assert call.did == [("read",), ("write", b"kept")]


async def test_who_leaves_cancels_the_handler_and_nothing_is_sent() -> None:
    ended = []

    async def wait(_: bytes, __: Any) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return b""

    world = World(Wait=unary(wait))
    call = world.desk.call("/a.B/Wait", b"")
    await settle()
    world.over(call, is_cancelled=True)
    await settle()
    assert (ended, call.did, len(world.calls)) == (["cancelled"], [], 0)


async def test_who_leaves_before_the_handler_begins_is_forgotten() -> None:
    world = World()
    call = world.desk.call("/a.B/Shout", b"")
    world.over(call, is_cancelled=True)
    await settle()
    assert (call.did, len(world.calls)) == ([], 0)


async def test_a_reader_that_outlives_the_call_meets_its_end() -> None:
    read = []

    async def aside(_: Any, context: Any) -> None:
        reader = asyncio.create_task(context.read())
        try:
            await asyncio.Event().wait()
        finally:
            read.append(await reader)

    world = World(Aside=stream(aside))
    call = world.desk.call("/a.B/Aside")
    await settle()
    world.over(call, is_cancelled=True)
    await settle()
    assert read == [EOF]


async def test_a_write_that_fails_ends_the_handler_in_silence() -> None:
    async def talk(_: Any, context: Any) -> None:
        while True:
            await context.write(b"again")

    world = World(Talk=stream(talk))
    call = world.desk.call("/a.B/Talk")
    await settle()
    with capture_logs() as logged:
        world.written(call, is_written=False)
        await settle()
        world.over(call, is_cancelled=True)
        await settle()
    assert (call.did, logged) == ([("write", b"again")], [])


async def test_a_handler_that_cleans_up_after_its_reply_is_left_to_it() -> None:
    ended = []

    async def tidy(_: bytes, context: Any) -> bytes:
        try:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "later")
        finally:
            await asyncio.sleep(0)
            ended.append("tidied up")
        return b""

    world = World(Tidy=unary(tidy))
    call = world.desk.call("/a.B/Tidy", b"")
    await asyncio.sleep(0)
    world.over(call)
    await settle()
    assert ended == ["tidied up"]


async def test_context_variables_of_a_call_are_its_own() -> None:
    whose: ContextVar[str] = ContextVar("whose")
    seen = []

    class Choosing(grpc.GenericRpcHandler):  # type: ignore[type-arg]
        def service(self, details: Any) -> Any:
            seen.append(whose.get("nobody's"))
            whose.set(details.method)

            async def answer(_: bytes, __: Any) -> bytes:
                return whose.get().encode()

            return grpc.unary_unary_rpc_method_handler(answer)

    desk = FakeDesk(Calls([Choosing()], NEVER).news())
    calls = [desk.call("/a"), desk.call("/b")]
    for call in calls:
        desk.tell("message", call.id, b"")
    await settle()
    assert seen == ["nobody's", "nobody's"]
    assert [call.did[-1] for call in calls] == [("reply", b"/a", ()), ("reply", b"/b", ())]


@pytest.mark.parametrize(("timeout_ns", "least", "most"), [(60 * SECOND, 59, 60), (0, 0, 0), (-SECOND, 0, 0)])
async def test_a_handler_knows_how_much_time_is_left(timeout_ns: int, least: float, most: float) -> None:
    left = []

    async def look(_: bytes, context: Any) -> bytes:
        left.append(context.time_remaining())
        return b""

    World(Look=unary(look)).desk.call("/a.B/Look", b"", timeout_ns=timeout_ns)
    await settle()
    assert least <= left[0] <= most


async def test_who_sets_no_deadline_has_none() -> None:
    left = []

    async def look(_: bytes, context: Any) -> bytes:
        left.append(context.time_remaining())
        return b""

    World(Look=unary(look)).desk.call("/a.B/Look", b"")
    await settle()
    assert left == [None]


async def test_closing_leaves_no_task_and_no_call() -> None:
    async def wait(_: Any, context: Any) -> None:
        await context.read()

    world = World(Wait=stream(wait))
    calls = [world.desk.call("/a.B/Wait") for _ in range(3)]
    await settle()
    before = len(asyncio.all_tasks())
    await world.calls.aclose()
    assert before - len(asyncio.all_tasks()) == len(calls)
    assert not len(world.calls)
    assert [call.did[-1] for call in calls] == [("finish", 1, "", ())] * len(calls)
