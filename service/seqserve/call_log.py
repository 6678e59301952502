"""One line a call: what fails is logged, and at debug level what is refused or answered too.

Every line has method and request_id, and as far as they are known trace_id, model, version and code.
"""

from __future__ import annotations

from typing import NamedTuple

import structlog

log = structlog.get_logger()

MOST_CHARACTERS = 128
"""Of a model's or version's name as a caller wrote it; those of the repository are no longer."""


class CallLine(NamedTuple):
    """What a line says of its call; "" is left out.

    model, version: as the repository has them, or as the caller asked where it has none.
    """

    method: str
    request_id: str
    trace_id: str = ""
    model: str = ""
    version: str = ""

    def known(self) -> dict[str, str]:
        """As fields of a line."""
        fields = self._asdict() | {"model": cut(self.model), "version": cut(self.version)}
        return {name: value for name, value in fields.items() if value}


def log_failed(line: CallLine, code: str | int, error: Exception) -> None:
    """Nobody but us can know why: with the traceback."""
    log.error("call failed", **line.known(), code=code, exc_info=error)


def log_refused(line: CallLine, code: str | int, error: Exception) -> None:
    """The caller knows why."""
    log.debug("call refused", **line.known(), code=code, reason=str(error))


def log_answered(line: CallLine, code: str | int, *, seconds: float, examples: int) -> None:
    """seconds: in this gateway. examples: 0 for calls that are no inference.

    There is one such line for each call: who calls this looks at logs.is_logged before.
    """
    answered = {"examples": examples} if examples else {}
    log.debug("call answered", **line.known(), code=code, seconds=round(seconds, 6), **answered)


def cut(name: str) -> str:
    """A name that may be longer than a log should bear."""
    return name if len(name) <= MOST_CHARACTERS else f"{name[: MOST_CHARACTERS - 3]}..."
