"""Mutations that leave JSON whole: a parser that is not instrumented tells a fuzzer nothing about its grammar."""

from __future__ import annotations

import json
from random import Random
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 6, 2**31, 2**31 + 1, 2**63, -(2**63) - 1, 0.5, 1e308, -0.0, "", "a", "x" * 300,
    "\u2028", "\u00fc", "\x1b[2J", "1", "../x", [], {}, [[]], [1, 6], [-1, 6], [2, 3], [1] * 9, ["HW"], {"a": {}},
)  # fmt: skip
DEEPER = 0.7


def mutated(data: bytes, random: Random) -> bytes:
    """The first object in it with one value replaced, left out, or there twice; as it was without an object."""
    start = data.find(b"{")
    try:
        text = data[start:].decode("latin-1") if start >= 0 else ""
        document, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return data
    _change(document, random)
    return data[:start] + json.dumps(document).encode() + data[start + end :]


def _change(node: Any, random: Random) -> None:
    """One place in an object or array."""
    keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return
    key = random.choice(keys)
    if isinstance(node[key], dict | list) and node[key] and random.random() < DEEPER:
        _change(node[key], random)
        return
    step = random.randrange(4)
    if step == 0:
        del node[key]
    elif step == 1 and isinstance(node, list):
        node.insert(key, node[key])
    elif step == 2:
        node[key] = (
            node[random.choice(keys)] if not isinstance(node[key], dict | list) else random.choice(VALUES)
        )
    else:
        node[key] = random.choice(VALUES)
