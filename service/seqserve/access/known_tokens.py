"""Finds whose token it is, in a time that does not tell how near a guess came."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Generic, TypeVar

from seqserve.access.tokens import token_digest

C = TypeVar("C")


class KnownTokens(Generic[C]):
    """Clients by the digests of their tokens.

    A dict compares keys byte by byte, so its keys are hashed with a secret of this process: nobody can
    choose tokens whose keys have a beginning in common with a known one.
    """

    def __init__(self, digests: Iterable[tuple[bytes, C]]) -> None:
        self._hash = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=16)
        self._by_key = {self._key(digest): (digest, client) for digest, client in digests}

    def find(self, token: str) -> C | None:
        """Whose it is, or None."""
        digest = token_digest(token)
        found = self._by_key.get(self._key(digest))
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        return found[1]

    def _key(self, digest: bytes) -> bytes:
        keyed = self._hash.copy()
        keyed.update(digest)
        return keyed.digest()
