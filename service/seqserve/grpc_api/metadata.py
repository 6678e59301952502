"""What comes with a gRPC call beside its messages; gRPC hands over every key in lower case."""

from __future__ import annotations

from collections.abc import Iterable

from seqserve.access.tokens import AUTHORIZATION

Metadata = Iterable[tuple[str, str | bytes]]
"""Keys that end in `-bin` have bytes, all others text; a key may come more than once."""


def texts(metadata: Metadata) -> dict[str, str]:
    """What is text, the last of each key."""
    return {key: value for key, value in metadata if isinstance(value, str)}


def authorizations(metadata: Metadata) -> list[str]:
    """All that came."""
    return [value for key, value in metadata if key == AUTHORIZATION and isinstance(value, str)]
