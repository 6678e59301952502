"""Times as people write them: `5ms`, `500us`, `0.005s`."""

from __future__ import annotations

import math
import re

ACCEPTED = "a number with us, ms or s, more than 0 and at most an hour, such as 5ms, 500us or 0.005s"
LONGEST_SECONDS = 3600.0
THREE_DIGITS = 999.5  # what is less is no 1,000 when it is rounded

_WRITTEN = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,9})?) ?(?P<unit>us|µs|ms|s)", re.ASCII)
_IN_A_SECOND = {"us": 1e6, "µs": 1e6, "ms": 1e3, "s": 1.0}  # divided by, 400us are 0.0004 to the last digit


def parse_seconds(text: str) -> float:
    """Seconds from a time with its unit. Raises ValueError that says what is accepted."""
    written = _WRITTEN.fullmatch(text.strip())
    seconds = float(written["number"]) / _IN_A_SECOND[written["unit"]] if written else 0.0
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"{text!r} is no time; accepted: {ACCEPTED}")
    return seconds


def as_written(seconds: float) -> str:
    """Three digits in the unit that suits: 0.0074 → `7.4 ms`."""
    unit = _unit_for(seconds)
    return f"{seconds * _IN_A_SECOND[unit]:.3g} {unit}"


def rounded_up(seconds: float) -> str:
    """Two digits that are surely more, as `parse_seconds` takes them: 0.00741 → `7.5ms`."""
    unit = _unit_for(seconds)
    number = seconds * _IN_A_SECOND[unit] * (1 + 1e-9)
    step = 10.0 ** (math.floor(math.log10(number)) - 1)
    return f"{math.ceil(number / step) * step:.10g}{unit}"


def _unit_for(seconds: float) -> str:
    """Where the number is below 1,000, as it is shown."""
    return next((unit for unit in ("us", "ms") if seconds * _IN_A_SECOND[unit] < THREE_DIGITS), "s")
