"""The binary extension: tensors as bytes behind the JSON of a body.

Source: Triton's binary tensor data extension of the Open Inference Protocol.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers

from seqserve.errors import InvalidRequest
from seqserve.http_api.strict_json import words

EXTENSION = "binary_tensor_data"
HEADER = "Inference-Header-Content-Length"
MAX_HEADER_BYTES = 2**16
SIZE, OUTPUT, ALL_OUTPUTS = "binary_data_size", "binary_data", "binary_data_output"

_DECIMAL = re.compile(r"[0-9]{1,9}")


def json_bytes(headers: Headers, body_bytes: int) -> int:
    """How much of the body is JSON: all of it without the header. Raises InvalidRequest."""
    given = headers.getlist(HEADER)
    if not given:
        return body_bytes
    most = min(MAX_HEADER_BYTES, body_bytes)
    if len(given) > 1 or not _DECIMAL.fullmatch(given[0]) or int(given[0]) > most:
        raise InvalidRequest(
            "HEADER_LENGTH", field=HEADER, came=", ".join(given),
            accepted=f"a decimal number of at most {MAX_HEADER_BYTES} and of no more than the body's bytes",
        )  # fmt: skip
    return int(given[0])


class Behind:
    """What lies behind the JSON; the inputs take it in their order, and none of it may be left."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._taken_bytes = 0

    def take(self, name: str, size: object) -> memoryview:
        """The next `size` bytes, those of the input `name`. Raises InvalidRequest."""
        left = len(self._content) - self._taken_bytes
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= left:
            raise InvalidRequest(
                "BINARY_SIZE", field=f"{name}.parameters.{SIZE}", came=words(size),
                accepted=f"a number of bytes of at most {left}, which is what is left behind the JSON",
            )  # fmt: skip
        start = self._taken_bytes
        self._taken_bytes += size
        return self._content[start : start + size]

    def check_end(self) -> None:
        """Raises InvalidRequest where nobody took the rest."""
        if self._taken_bytes != len(self._content):
            raise InvalidRequest(
                "BINARY_SIZE", field="body", came=f"{len(self._content)} bytes behind the JSON",
                accepted=f"{self._taken_bytes}, the sum of the inputs' {SIZE}",
            )  # fmt: skip


def wants_binary(request: Mapping[str, Any], output: Mapping[str, Any]) -> bool:
    """Whether an output is to come as bytes, by its parameters and the request's. Raises InvalidRequest."""
    of_all = _flag(request, ALL_OUTPUTS, default=False)
    return _flag(output, OUTPUT, default=of_all)


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest(
            "PARAMETER_NOT_ACCEPTED", field=f"parameters.{name}", came=words(value), accepted="true or false"
        )
    return value
