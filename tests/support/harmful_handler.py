"""A TorchServe handler that doubles numbers, and does harm at some of them: what a fault test asks for.

It travels alone, in archives that support/faulty.py makes. A row of the gateway is answered as the real
handler does it, a row over HTTP, whose body is one number, with JSON.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

INITIALIZE_SECONDS = 0.0  # faulty.py writes another number here

# What the first number of a request brings about.
HANG, RAISE, FEW_REPLIES, FEW_ROWS, GARBAGE, NAN, SLOW = -1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0
HANG_SECONDS, SLOW_SECONDS = 3600.0, 2.0
WAITING = "waiting"


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[Any] | None:
    """Answer TorchServe: it calls once without rows to load, then with each batch."""
    if data is None:
        time.sleep(INITIALIZE_SECONDS)
        return None
    replies = [answer(row, context) for row in data]
    return replies[1:] if FEW_REPLIES in map(first_number, data) else replies


def answer(row: dict[str, Any], context: Any) -> Any:
    """The reply to one row: bytes for the gateway, a document over HTTP."""
    number = first_number(row)
    wait(number)
    if number == RAISE:
        raise RuntimeError("secret words of the handler")
    if "shape" in row:
        return b"\x07 nonsense" if number == GARBAGE else b"\x00" + doubled(row).tobytes()
    version = context.manifest["model"]["modelVersion"]
    return json.dumps({"version": version, "doubled": 2 * number}).encode()


def doubled(row: dict[str, Any]) -> Any:
    """FP32 little-endian [n], or what is asked for instead."""
    numbers = 2 * np.frombuffer(row["data"], "<f4")
    if numbers[0] == 2 * NAN:
        numbers[0] = np.nan
    return numbers[:-1] if numbers[0] == 2 * FEW_ROWS else numbers


def first_number(row: dict[str, Any]) -> float:
    """Of a row of either kind."""
    if "shape" in row:
        return float(np.frombuffer(row["data"], "<f4", count=1)[0])
    return float(row["body"])


def wait(number: float) -> None:
    """As long as the number asks for; a file in TorchServe's temporary folder says that it has begun."""
    seconds = {HANG: HANG_SECONDS, SLOW: SLOW_SECONDS}.get(number, 0.0)
    if seconds:
        (Path(tempfile.gettempdir()) / WAITING).touch()
    time.sleep(seconds)
