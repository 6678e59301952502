"""The errors that computing raised last, by the numbers that native threads carry in their place."""

from __future__ import annotations

import itertools
import threading
import traceback
from collections import OrderedDict
from collections.abc import Iterator

from seqserve.errors import InvalidRequest, Overloaded, Unavailable
from seqserve.native_front import _native
from seqserve.status import in_our_words, retry_seconds, status_of

KEPT_FAULTS = 1024
"""A batch's fault is asked for as soon as the event loop has a turn; so many may come before."""


class Faults:
    """Written by computing threads, read on the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._errors: OrderedDict[int, Exception] = OrderedDict()

    def note(self, error: Exception) -> _native.EngineFault:
        """What to raise in place of an error, so that whoever answers knows what callers may hear.

        Of the frames that the error and its causes came through only the lines stay, for the log: their
        variables are the batch's memory, which is another batch's soon.
        """
        for each in _with_causes(error):
            traceback.clear_frames(each.__traceback__)
        with self._lock:
            number = next(self._numbers)
            self._errors[number] = error
            if len(self._errors) > KEPT_FAULTS:
                self._errors.popitem(last=False)
        told = in_our_words(error)
        code: int = status_of(told).grpc.value[0]
        return _native.EngineFault(number, code, str(told), _reason_of(told), _retry_after_ns(told))

    def find(self, number: int) -> Exception:
        """The error of that number, or one that says that nobody knows."""
        with self._lock:
            return self._errors.get(number) or RuntimeError("the batch failed outside of Python")


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised from or while it was handled; each once."""
    found, waiting = set(), [error]
    while waiting:
        each = waiting.pop()
        if id(each) not in found:
            found.add(id(each))
            yield each
            waiting += [cause for cause in (each.__cause__, each.__context__) if cause is not None]


def _reason_of(error: BaseException) -> str:
    if isinstance(error, InvalidRequest):
        return error.detail
    return str(getattr(error, "reason", "INTERNAL"))


def _retry_after_ns(error: BaseException) -> int:
    return int(retry_seconds(error) * 1e9) if isinstance(error, Overloaded | Unavailable) else -1
