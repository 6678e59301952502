"""Structured logs on standard error: JSON lines, or coloured ones on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict

from seqserve.log_lines import Lines
from seqserve.printable import printable

LEVELS = logging.getLevelNamesMapping()


class _Threshold:
    """Drops what is below a level, which may change while the program runs."""

    def __init__(self) -> None:
        self.level = logging.INFO

    def __call__(self, _logger: object, method: str, event: EventDict) -> EventDict:
        """A structlog processor; methods are named after levels."""
        if LEVELS.get(method.upper(), logging.ERROR) < self.level:
            raise structlog.DropEvent
        return event


_threshold = _Threshold()


def _plain(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A structlog processor for terminals: file names and the like may hold what one would obey."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}


def is_logged(level: str) -> bool:
    """Whether lines of that level come out now; for what is costly to put together."""
    return LEVELS[level.upper()] >= _threshold.level


def set_log_level(level: str) -> None:
    """From now on log what is at least this urgent: `debug` … `error`."""
    _threshold.level = LEVELS[level.upper()]


def configure_logs(level: str, log_format: str) -> None:
    """Set the level and format (`json`, `console`, `auto`) for the whole program."""
    # Tracebacks without the values of variables: those are callers' tensors, and slow to write out.
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    last: list[Any] = (
        [ExceptionRenderer(ExceptionDictTransformer(show_locals=False)), structlog.processors.JSONRenderer()]
        if as_json
        else [_plain, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    set_log_level(level)
    lines = Lines(sys.stderr)
    structlog.configure(
        processors=[
            _threshold,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *last,
        ],
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
