"""Ends what takes too long: asyncio.timeout_at with one timer for all, instead of one for each request."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Any


class Deadlines:
    """Those of one event loop, in its own time.

    Deadlines mostly come in the order in which they pass, and are over before that; so the timer is set again
    once in the time that the shortest of them allows, and no more.
    """

    def __init__(self) -> None:
        self._limits: dict[Limit, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def at(self, deadline: float) -> Limit:
        """A block that raises TimeoutError where it is not over by then."""
        return Limit(self, deadline)

    def add(self, limit: Limit) -> None:
        """Watch it from now on."""
        self._limits[limit] = None
        if limit.deadline < self._timer_at:
            self._set_timer(limit.deadline)

    def remove(self, limit: Limit) -> None:
        """Watch it no more."""
        del self._limits[limit]

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = asyncio.get_running_loop().call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        # By the timer's own reckoning: the loop calls it as soon as its clock cannot tell the difference.
        now = max(self._timer_at, asyncio.get_running_loop().time())
        self._timer, self._timer_at = None, math.inf
        for limit in self._limits:
            if limit.deadline <= now:
                limit.end()
        earliest = min((limit.deadline for limit in self._limits if not limit.is_over), default=math.inf)
        if earliest < math.inf:
            self._set_timer(earliest)


class Limit:
    """A block of one task. It cancels the task at the deadline and tells that from any other cancellation."""

    __slots__ = ("_cancelling", "_deadlines", "_task", "deadline", "is_over")

    def __init__(self, deadlines: Deadlines, deadline: float) -> None:
        self.deadline = deadline
        self.is_over = False
        self._deadlines = deadlines
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("there is no task that could be cancelled")
        self._cancelling = self._task.cancelling()
        self._deadlines.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.remove(self)
        if self.is_over and self._task is not None:
            is_own = self._task.uncancel() <= self._cancelling
            if is_own and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def end(self) -> None:
        """The deadline has passed."""
        if not self.is_over and self._task is not None:
            self.is_over = True
            self._task.cancel()
