"""JSON as this gateway takes it: one object, each key once, finite numbers, whole characters, 16 levels.

Python's own parser does the work. It holds the interpreter from the first byte to the last, so a long
text is parsed with number readers written in Python, between which other threads have their turn:
800,000 numbers then keep the event loop waiting for some 10 ms instead of 300.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

from seqserve.errors import InvalidRequest

MAX_DEPTH = 16
LONG_BYTES = 2**16
"""From here on a text is parsed in a thread, and so that others get their turn."""
_WORDS_CHARACTERS = 64
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_object(text: bytes) -> dict[str, Any]:
    """The one object of a UTF-8 text. Raises InvalidRequest: MALFORMED_JSON and the JSON_ reasons."""
    decoder = _LONG if len(text) > LONG_BYTES else _SHORT
    try:
        document = decoder.decode(text.decode())
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:  # of the syntax, the encoding, or a number of thousands of digits
        raise _fault("MALFORMED_JSON", str(error), "a JSON object in UTF-8") from error
    if not isinstance(document, dict):
        raise _fault("MALFORMED_JSON", words(document), "a JSON object")
    _check_depth(document)
    if b"\\ud" in text or b"\\uD" in text:  # UTF-8 itself has no surrogates
        _check_characters(document)
    return document


def words(value: object) -> str:
    """A JSON value for messages: what it is, or where it is short itself."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, str):
        return repr(value[:_WORDS_CHARACTERS])
    return "null" if value is None else str(value).lower()


def _check_depth(document: object) -> None:
    """Level by level, since whoever sends this chooses how deep a recursion would go."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node) if type(child) in (dict, list)]
        if not level:
            return
    raise _too_deep()


def _check_characters(document: object) -> None:
    """Refuse half of a surrogate pair, which no UTF-8 can carry back or on."""
    level = [document]
    while level:
        texts = [child for node in level for child in _texts(node)]
        if any(map(_SURROGATE.search, texts)):
            raise _fault("JSON_SURROGATE", "half of a surrogate pair", "whole characters")
        level = [child for node in level for child in _children(node) if type(child) in (dict, list)]


def _texts(node: Any) -> list[str]:
    """The strings right in an object or array, keys among them."""
    keys = list(node) if isinstance(node, dict) else []
    return keys + [child for child in _children(node) if isinstance(child, str)]


def _children(node: Any) -> Any:
    return node.values() if isinstance(node, dict) else node


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _fault("JSON_DUPLICATE_KEY", words(_first_twice(pairs)), "each key once in an object")
    return found


def _first_twice(pairs: list[tuple[str, Any]]) -> str:
    names = Counter(name for name, _ in pairs)
    return next(name for name, count in names.items() if count > 1)


def _refuse_constant(name: str) -> NoReturn:
    raise _fault("JSON_NOT_FINITE", name, "finite numbers")


def _float(text: str) -> float:
    return float(text)


def _integer(text: str) -> int:
    return int(text)


def _too_deep() -> InvalidRequest:
    return _fault("JSON_TOO_DEEP", f"more than {MAX_DEPTH} levels", f"at most {MAX_DEPTH} levels")


def _fault(reason: str, came: str, accepted: str) -> InvalidRequest:
    return InvalidRequest(reason, field="body", came=came, accepted=accepted)


_SHORT = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)
_LONG = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_float, parse_int=_integer
)
