"""The gate that each call passes before anything of it is read: who calls, and whether it may."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import structlog

from seqserve.access.client import Client
from seqserve.access.known_tokens import KnownTokens
from seqserve.access.observer import UNKNOWN, AccessObserver
from seqserve.access.room import Room
from seqserve.access.tokens import bearer_token, unknown_token
from seqserve.client_settings import ClientSettings, Scope
from seqserve.errors import PermissionDenied, Unauthenticated

log = structlog.get_logger()

ANY_ROOM = nullcontext()
"""Of callers who have no limits of their own."""


class Gate:
    """Open until there are clients for the first time; one for all ports, used on one event loop.

    It does not open again by itself: whoever takes a stolen token out of the settings, and with it the
    last client, means to let fewer in, and not everybody.

    Every method takes the call's `authorization` headers or metadata, all of them.
    """

    def __init__(
        self, observer: AccessObserver | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._observer = observer or AccessObserver()
        self._clock = clock
        self._clients: dict[str, Client] = {}
        self._tokens = KnownTokens[Client](())
        self.is_open = True

    def follow(self, clients: Mapping[str, ClientSettings]) -> None:
        """Take over who may call from now on; clients that stay keep what they have under way."""
        if self._clients and not clients:
            log.warning(
                "there are no clients any more: nobody gets in",
                hint="add one, or restart to serve without tokens",
            )
        self._clients = {name: self._client(name, own) for name, own in clients.items()}
        digests = [
            (bytes.fromhex(digest), self._clients[name])
            for name, own in clients.items()
            for digest in own.token_sha256
        ]
        self._tokens = KnownTokens(digests)
        self.is_open = self.is_open and not clients

    def admit(self, authorizations: Sequence[str], scope: Scope) -> AbstractContextManager[None]:
        """Let a call in that needs a scope; what comes is its caller's room, which inference requests enter.

        Raises Unauthenticated, PermissionDenied; entering the room raises ClientOverLimit.
        """
        if self.is_open:
            return ANY_ROOM
        try:
            client = self._find(authorizations)
        except Unauthenticated:
            self._observer.note_access_refusal(UNKNOWN, "unauthenticated")
            raise
        if scope not in client.scopes:
            self._observer.note_access_refusal(client.name, "permission_denied")
            raise PermissionDenied(
                f"client {client.name} has no scope {scope!r}, which this needs", missing_scope=scope
            )
        return client.room

    def is_known(self, authorizations: Sequence[str], scope: Scope) -> bool:
        """Whether the call has that scope, where the answer only differs by it."""
        try:
            return self.is_open or scope in self._find(authorizations).scopes
        except Unauthenticated:
            return False

    def note_denial(self, authorizations: Sequence[str]) -> None:
        """Count a call that was refused for something else than its scope."""
        try:
            name = UNKNOWN if self.is_open else self._find(authorizations).name
        except Unauthenticated:
            name = UNKNOWN
        self._observer.note_access_refusal(name, "permission_denied")

    def _client(self, name: str, own: ClientSettings) -> Client:
        before = self._clients.get(name)
        if before is None:
            refused = partial(self._observer.note_access_refusal, name)
            admitted = partial(self._observer.note_client_request, name)
            return Client(name, frozenset(own.scopes), Room(own, self._clock, refused, admitted))
        before.room.change(own)
        return Client(name, frozenset(own.scopes), before.room)

    def _find(self, authorizations: Sequence[str]) -> Client:
        client = self._tokens.find(bearer_token(authorizations))
        if client is None:
            raise unknown_token()
        return client
