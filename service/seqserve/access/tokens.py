"""Tokens: how they are made, how they come with a call, and what is kept of them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

from seqserve.client_settings import TOKEN_PREFIX
from seqserve.errors import Unauthenticated

AUTHORIZATION = "authorization"
"""The header, or gRPC's metadata key, that a token comes in, as `Bearer TOKEN`."""

SECRET_BYTES = 32
# No other text is a token, whatever its hash: what people make up themselves could be guessed.
_BEARER_TOKEN = re.compile(rf"(?i:bearer) +({TOKEN_PREFIX}[A-Za-z0-9_-]{{43}})")
_BEARER = re.compile(r"(?i:bearer) +\S+")


def new_token() -> str:
    """A token of 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def token_digest(token: str) -> bytes:
    """SHA-256 of a token's text; in hexadecimal it is what the settings hold."""
    return hashlib.sha256(token.encode()).digest()


def bearer_token(authorizations: Sequence[str]) -> str:
    """The token of a call, by all the `authorization` that came with it.

    Raises Unauthenticated, whose text quotes nothing of it.
    """
    if len(authorizations) == 1:
        if found := _BEARER_TOKEN.fullmatch(authorizations[0]):
            return found[1]
        if _BEARER.fullmatch(authorizations[0]):
            raise unknown_token()
        raise Unauthenticated("the authorization is not of the kind that is accepted: Bearer TOKEN")
    if authorizations:
        raise Unauthenticated("more than one authorization came; accepted: one, Bearer TOKEN")
    raise Unauthenticated("a token is needed here: authorization: Bearer TOKEN")


def unknown_token() -> Unauthenticated:
    """Of a token that nobody has, or has any more."""
    return Unauthenticated("the token is not one that is accepted here", is_token_given=True)
