"""The event loop under grpc.aio's server: what gRPC has begun for a call is seen to its end, and freed.

grpcio 1.85 frees a batch of operations, with the reply or the status in it, only where its coroutine
`execute_batch` goes on behind the batch. It does not where the batch fails, nor where the task is cancelled
meanwhile, and both happen to calls that are given up: what is sent to a caller who has left fails, and a
cancellation may come while the request is received. Source: grpc/grpc#43360, and
`aio/callback_common.pyx.pxi` and `aio/server.pyx.pxi` of grpcio 1.85.1.

Without what is named here in grpcio this is asyncio's own loop.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

BATCH = "execute_batch"
CALL = "_handle_exceptions"
"""grpcio's coroutines: what waits for a batch, and the task of a call."""
FAILED_BATCH, MESSAGE, STATUS = "ExecuteBatchError", "SendMessageOperation", "SendStatusFromServerOperation"
OF_CLIENTS = "FromClient"


class ServerLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on Linux, with futures and tasks for gRPC's server."""

    def create_future(self) -> asyncio.Future[Any]:
        """See asyncio."""
        return _Future(loop=self)

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """See asyncio."""
        if getattr(coro, "__name__", "") == CALL:
            return _CallTask(coro, loop=self, name=None if name is None else str(name), context=context)
        return super().create_task(coro, name=name, context=context)


class _Future(asyncio.Future[Any]):
    """Whoever sends a server's message or status is not told that it failed: the caller has left."""

    __slots__ = ()

    def set_exception(self, exception: type[BaseException] | BaseException, /) -> None:
        if type(exception).__name__ == FAILED_BATCH and _is_of_server(str(exception)):
            self.set_result(None)
        else:
            super().set_exception(exception)


class _CallTask(asyncio.Task[Any]):
    """A call, which another task cancels only when its request has been received.

    gRPC ends that batch itself when the call is given up; then the task goes on until it waits again. What a
    handler sends by itself is below Python's frames, where no batch is seen: there the cancel comes at once.
    Who cancels from outside all tasks ends the loop, or has set a timer around what is not gRPC's.
    """

    __slots__ = ()

    def cancel(self, msg: Any | None = None) -> bool:
        is_between_tasks = asyncio.current_task(self.get_loop()) is None
        return super().cancel(msg) if is_between_tasks else self._cancel_behind_batch(msg)

    def _cancel_behind_batch(self, msg: Any | None) -> bool:
        batch: asyncio.Future[Any] | None = self._fut_waiter  # type: ignore[attr-defined]  # asyncio's own
        if batch is None or not _waits_for_batch(self.get_coro()):
            return super().cancel(msg)
        batch.add_done_callback(lambda _: self._cancel_behind_batch(msg))  # the task goes on before it
        return True


def _is_of_server(operations: str) -> bool:
    return (MESSAGE in operations or STATUS in operations) and OF_CLIENTS not in operations


def _waits_for_batch(awaited: Any) -> bool:
    while awaited is not None:
        if getattr(awaited, "__name__", None) == BATCH:
            return True
        awaited = getattr(awaited, "cr_await", None)
    return False
