"""Whose call a task answers: a Guard has found out, so that the boundary need not do so again.

grpc.aio chooses a call's handler in the task that then runs it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar

room_of_caller: ContextVar[AbstractContextManager[None]] = ContextVar("room_of_caller")
"""See Gate.admit; not set where no guard has asked."""
