"""`grpc.health.v1` in plaintext on a port of its own, for probes, in threads of its own.

It answers while the event loop is blocked or its queues are full, and however many calls the main port
has. It needs Python's lock for some microseconds a call, as every thread does: a blocked event loop
lets go of it (sleeping, waiting, computing in torch or NumPy), and Python code that is busy is made to
after 5 ms. It cannot answer while native code keeps the lock, while the process is stopped or swapped
out, or without any CPU; a probe that fails then is right. Nor does it say that the event loop is well:
seqserve_event_loop_lag_seconds does.

The server is grpcio's synchronous one. A second grpc.aio server on a loop of its own was tried: all
loops of a process share one poller, which woke both for every event and cost the main port a third more
CPU a call.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from seqserve.grpc_api.binding import listen
from seqserve.grpc_api.health import SERVICE, malformed_words, parse_name, reply, reply_to_list, unknown_words
from seqserve.grpc_api.health_statuses import StatusesForProbes, Telling
from seqserve.grpc_api.limits import GrpcLimits

THREADS = 64  # made when they are needed: one for each open Watch, and for a moment for each Check
MOST_WATCHES = 48
MAX_CONNECTIONS = 256
STOP_SECONDS = 0.5  # for the answers that are on their way


class HealthPort:
    """Answers from the statuses that the main port publishes, to everybody."""

    def __init__(self, statuses: StatusesForProbes, limits: GrpcLimits) -> None:
        self._statuses = statuses
        self._room = threading.BoundedSemaphore(MOST_WATCHES)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="health")
        bounded = replace(limits, max_connections=MAX_CONNECTIONS)
        self._server = grpc.server(self._threads, options=bounded.options())
        handlers = {
            "Check": grpc.unary_unary_rpc_method_handler(self._check),
            "List": grpc.unary_unary_rpc_method_handler(lambda _, __: reply_to_list(statuses)),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def start(self, host: str, port: int) -> int:
        """Listen, return the port (a free one for 0). Raises AddressInUse."""
        bound = listen(self._server, host, port, "health_port")
        self._server.start()
        return bound

    async def stop(self) -> None:
        """Answer nobody any more: the last thing before the process ends. It may be called again."""
        await asyncio.to_thread(lambda: self._server.stop(STOP_SECONDS).wait())
        self._threads.shutdown(wait=False)

    def _check(self, body: bytes, context: Any) -> bytes:
        name = _name(body, context)
        status = self._statuses.find(name)
        if status is not None:
            return reply(status)
        context.abort(grpc.StatusCode.NOT_FOUND, unknown_words(name))
        raise AssertionError("abort raises")  # pragma: no cover

    def _watch(self, body: bytes, context: Any) -> Iterator[bytes]:
        telling = Telling(self._statuses, _name(body, context))
        # A watch holds a thread: checks must always find one.
        if not self._room.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"at most {MOST_WATCHES} watches at once")
        try:
            yield from self._tell(telling, context)
        finally:
            self._room.release()

    def _tell(self, telling: Telling, context: Any) -> Iterator[bytes]:
        is_changed = threading.Event()
        with self._statuses.waking(is_changed.set):
            if not context.add_callback(is_changed.set):
                return  # the caller has left already
            while True:
                is_changed.clear()
                if not context.is_active():
                    return
                is_last = self._statuses.is_over
                if (status := telling.news()) is not None:
                    yield reply(status)
                if is_last:
                    return
                is_changed.wait()


def _name(body: bytes, context: Any) -> str:
    try:
        return parse_name(body)
    except DecodeError:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, malformed_words(body))
        raise
