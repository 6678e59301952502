"""Clients with tokens, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from seqserve.access.tokens import new_token, token_digest
from seqserve.client_settings import ClientSettings, Scope

SCOPES: tuple[Scope, ...] = get_args(Scope)


def hash_of(token: str) -> str:
    """As the settings hold it."""
    return token_digest(token).hex()


def client_settings(*tokens: str, **changes: Any) -> ClientSettings:
    """A client that has these tokens."""
    return ClientSettings(token_sha256=tuple(map(hash_of, tokens)), **changes)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """What a call carries, as gRPC metadata."""
    return (("authorization", f"Bearer {token}"),)


@dataclass(frozen=True)
class Tokens:
    """A token for each scope, each of a client with that name, and one that nobody has."""

    wrong: str = field(default_factory=new_token)
    of_scope: dict[Scope, str] = field(default_factory=lambda: {scope: new_token() for scope in SCOPES})

    def clients(self, **changes: Any) -> dict[str, ClientSettings]:
        """Their sections. changes: limits of all of them."""
        return {
            scope: client_settings(token, scopes=(scope,), **changes)
            for scope, token in self.of_scope.items()
        }

    @property
    def secrets(self) -> list[str]:
        """What may stand nowhere: all tokens without their public beginning, and the hashes."""
        tokens = [self.wrong, *self.of_scope.values()]
        return [token.removeprefix("ssv_") for token in tokens] + [hash_of(token) for token in tokens]
