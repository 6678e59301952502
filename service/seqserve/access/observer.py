"""What is told of access, for metrics; this one takes no note of it."""

from __future__ import annotations

from typing import Literal

RefusalReason = Literal["unauthenticated", "permission_denied", "concurrency", "rate"]

UNKNOWN = "unknown"
"""The client of a call without a token, or with one that is not known."""


class AccessObserver:
    """client: a name of the settings, or UNKNOWN; never anything that a caller sent."""

    def note_access_refusal(self, client: str, reason: RefusalReason) -> None:
        """A call was turned away."""

    def note_client_request(self, client: str) -> None:
        """An inference request was let in."""
