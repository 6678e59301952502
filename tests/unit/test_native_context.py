"""What a call over the native front leaves behind."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field

import grpc
import pytest
from grpc.aio import AbortError

from seqserve.native_front.context import CallContext, Lifetime

NEVER = 1 << 62


@dataclass
class FakeCall:
    """Notes how it ended."""

    ends: list[tuple[int, str]] = field(default_factory=list)

    def finish(self, code: int, words: str, _trailing: object) -> None:
        self.ends.append((code, words))


async def test_a_call_that_was_refused_leaves_nothing_for_the_collector() -> None:
    call = FakeCall()
    context = CallContext(call, (), Lifetime(NEVER, NEVER), b"a long message")  # type: ignore[arg-type]
    gone = weakref.ref(context)
    gc.disable()
    try:
        with pytest.raises(AbortError):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        del context
        assert gone() is None
    finally:
        gc.enable()
    assert call.ends == [(5, "no such model")]


async def test_a_handler_that_goes_on_after_its_abort_is_ended_again() -> None:
    context = CallContext(FakeCall(), (), Lifetime(NEVER, NEVER), None)  # type: ignore[arg-type]
    with pytest.raises(AbortError):
        await context.abort(grpc.StatusCode.NOT_FOUND)

    with pytest.raises(AbortError):
        context.reply(b"after all")
