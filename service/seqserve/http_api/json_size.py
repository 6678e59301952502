"""How much a JSON text holds, counted by its characters before it is parsed.

2 characters make an empty array of 64 bytes, and Python's parser keeps the interpreter for all of them at
once. What a model can be asked is bounded by the largest body, which has room for it as FP32.
"""

from __future__ import annotations

from seqserve.errors import InvalidRequest

MIN_PARTS, MAX_PARTS = 2**17, 2**20
"""Of all that is no number: some 40 ms, and 300 ms. Between numbers other threads have their turn."""
_PARTS = (b"[", b"{", b"null", b"true", b"false")
BYTES_OF_A_PART = 128
"""In the largest body: rows of 32 numbers, which is what data that is nested as its shape consists of."""
MIN_VALUES = 2**20
BYTES_OF_A_VALUE = 4


def check_json_size(text: bytes, max_body_bytes: int) -> None:
    """Raises InvalidRequest. The same characters within strings count too: base64 has none of them."""
    if len(text) <= MIN_PARTS:  # as many parts have no room in it
        return
    parts = sum(map(text.count, _PARTS)) + text.count(b'"') // 2
    most = min(max(MIN_PARTS, max_body_bytes // BYTES_OF_A_PART), MAX_PARTS)
    if parts > most:
        raise InvalidRequest(
            "JSON_PARTS", field="body", came=f"{parts} arrays, objects, strings and words",
            accepted=f"at most {most}; data may be flat",
        )  # fmt: skip
    values = text.count(b",")  # one behind each, but for the last ones of their arrays
    most = max(MIN_VALUES, max_body_bytes // BYTES_OF_A_VALUE)
    if values > most:
        raise InvalidRequest(
            "JSON_VALUES", field="body", came=f"more than {most} values", accepted=f"at most {most}"
        )
