"""The server's event loop, with coroutines that bear the names of gRPC's, of which nothing else is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from seqserve.grpc_api.loop import ServerLoop

LAST_BATCH = 'Failed "execute_batch": (<SendMessageOperation>, <SendStatusFromServerOperation>)'
MESSAGE = 'Failed "execute_batch": (<SendMessageOperation>,)'
OF_A_CLIENT = 'Failed "execute_batch": (<SendMessageOperation>, <SendCloseFromClientOperation>)'
RECEIVED = 'Failed "execute_batch": (<ReceiveMessageOperation>,)'


class ExecuteBatchError(Exception):
    """Called as gRPC's."""


class Call:
    """What gRPC does for a unary call: one batch that receives, the handler, one batch that replies."""

    def __init__(self, handler: Callable[[], Awaitable[object]]) -> None:
        loop = asyncio.get_running_loop()
        self.received, self.sent = loop.create_future(), loop.create_future()
        self.freed: list[str] = []
        self._handler = handler
        self.task: asyncio.Task[None] = loop.create_task(_named("_handle_exceptions", self._run)())

    async def _run(self) -> None:
        await self._batch("received", self.received)
        await self._handler()
        await self._batch("sent", self.sent)

    async def _batch(self, name: str, future: asyncio.Future[None]) -> None:
        async def execute_batch() -> None:
            await future
            self.freed.append(name)

        await execute_batch()

    async def give_up(self) -> None:
        """As gRPC does: out of a task of its own."""
        await asyncio.sleep(0)

        async def cancel() -> None:
            self.task.cancel()

        await asyncio.create_task(cancel())


def _named(name: str, function: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Any]:
    async def run() -> None:
        await function()

    run.__name__ = name
    return run


async def at_once() -> None:
    """A handler that waits for nothing."""


def in_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=ServerLoop) as runner:
        runner.run(work())


def test_a_call_given_up_while_it_is_received_is_cancelled_behind_the_batch() -> None:
    async def work() -> None:
        call = Call(lambda: asyncio.sleep(60))
        await call.give_up()
        call.received.set_result(None)
        with pytest.raises(asyncio.CancelledError):
            await call.task
        assert call.freed == ["received"]

    in_loop(work)


def test_it_is_cancelled_also_where_the_batch_has_just_ended() -> None:
    async def work() -> None:
        call = Call(lambda: asyncio.sleep(60))
        await asyncio.sleep(0)
        call.received.set_result(None)
        asyncio.get_running_loop().call_soon(lambda: None)
        await call.give_up()
        with pytest.raises(asyncio.CancelledError):
            await call.task
        assert call.freed == ["received"]

    in_loop(work)


def test_a_handler_that_waits_is_cancelled_at_once() -> None:
    async def work() -> None:
        call = Call(lambda: asyncio.sleep(60))
        call.received.set_result(None)
        await asyncio.sleep(0)
        await call.give_up()
        with pytest.raises(asyncio.CancelledError):
            await call.task

    in_loop(work)


def test_a_reply_that_is_being_sent_goes_out() -> None:
    async def work() -> None:
        call = Call(at_once)
        await call.give_up()
        call.received.set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not call.task.done()
        call.sent.set_result(None)
        await call.task
        assert call.freed == ["received", "sent"]

    in_loop(work)


def test_the_end_of_the_loop_waits_for_no_batch() -> None:
    calls: list[Call] = []

    async def work() -> None:
        calls.append(Call(at_once))
        await asyncio.sleep(0)

    in_loop(work)
    assert calls[0].task.cancelled()


@pytest.mark.parametrize("operations", [LAST_BATCH, MESSAGE])
def test_what_cannot_be_sent_is_freed_like_what_can(operations: str) -> None:
    async def work() -> None:
        call = Call(at_once)
        call.received.set_result(None)
        call.sent.set_exception(ExecuteBatchError(operations))
        await call.task
        assert call.freed == ["received", "sent"]

    in_loop(work)


@pytest.mark.parametrize(
    "error", [ExecuteBatchError(OF_A_CLIENT), ExecuteBatchError(RECEIVED), ValueError(LAST_BATCH)]
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    async def work() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(error)
        with pytest.raises(type(error)):
            await future

    in_loop(work)


def test_other_tasks_are_asyncios_own() -> None:
    async def work() -> None:
        assert type(asyncio.create_task(at_once(), name="mine")) is asyncio.Task

    in_loop(work)
