"""The bearer tokens that TorchServe wants, and where they lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from seqserve.errors import EngineUnavailable

TokenKind = Literal["inference", "management"]
KINDS: tuple[TokenKind, ...] = ("inference", "management")

TOKEN_PAUSES_SECONDS = (0.0, 0.05, 0.2, 0.5, 1.0)
"""A new token counts a moment before its file is written; the token is read again after each of these.

Together they are also the time that a refusal leaves for a renewal, which a busy JVM may take long to answer.
"""

Metadata = tuple[tuple[str, str], ...]


class Tokens(Protocol):
    """Where the token of inference calls comes from."""

    def inference(self) -> str:
        """For gRPC; "" where none is wanted. Raises EngineUnavailable."""
        ...

    def note_refusal(self) -> None:
        """The server refused it: read it anew at the next call."""
        ...


class NoTokens:
    """Of a TorchServe that runs without authorization."""

    def inference(self) -> str:
        """Empty."""
        return ""

    def note_refusal(self) -> None:
        """There is nothing to read."""


class TokenFile:
    """A file with the inference token: TorchServe's key_file.json, or the bare token.

    It is read once, and again after a refusal: whoever renews the token writes the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token: str | None = None

    def inference(self) -> str:
        """See Tokens."""
        if self._token is None:
            self._token = _token_in(self._read())
        return self._token

    def note_refusal(self) -> None:
        """See Tokens."""
        self._token = None

    def _read(self) -> str:
        try:
            return self._path.read_text().strip()
        except (OSError, ValueError) as error:
            raise EngineUnavailable("TorchServe's token file cannot be read") from error


class KeyFile:
    """The keys of a TorchServe of our own: its key_file.json, read once and again after `forget`.

    TorchServe writes the file in place: while it cannot be read, the keys that were known hold on.
    on_refusal: who renews the keys sets it, and is told of each token that the server refused.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._now = now
        self.on_refusal: Callable[[], None] = lambda: None
        self._keys: dict[str, Any] = {}
        self._is_stale = True

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self._path

    def inference(self) -> str:
        """See Tokens."""
        return str(self._of("inference")["key"])

    def management(self) -> str:
        """For the management API. Raises EngineUnavailable."""
        return str(self._of("management")["key"])

    def api(self) -> str:
        """What a new token is asked for with; it lives as long as the server. Raises EngineUnavailable."""
        return str(self._of("API")["key"])

    def seconds_left(self, kind: TokenKind) -> float:
        """How long a token is good for; negative once it has expired. Raises EngineUnavailable."""
        try:
            expires = datetime.fromisoformat(str(self._of(kind)["expiration time"]))
            return (expires - self._now()).total_seconds()
        except (KeyError, TypeError, ValueError) as error:  # TypeError of a time without its zone
            raise EngineUnavailable("TorchServe's tokens cannot be read") from error

    def note_refusal(self) -> None:
        """See Tokens."""
        self.forget()
        self.on_refusal()

    def forget(self) -> None:
        """Read the file at the next call."""
        self._is_stale = True

    def _of(self, kind: str) -> dict[str, Any]:
        if self._is_stale:
            self._read()
        found = self._keys.get(kind)
        if not isinstance(found, dict) or "key" not in found:
            raise EngineUnavailable("TorchServe's tokens cannot be read")
        return found

    def _read(self) -> None:
        try:
            keys = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return
        if isinstance(keys, dict):
            self._keys, self._is_stale = keys, False


def authorization(token: str) -> Metadata:
    """The header that carries a token; none for an empty one."""
    return (("authorization", f"Bearer {token}"),) if token else ()


def _token_in(text: str) -> str:
    """The token of a key file, or the text itself. Raises EngineUnavailable."""
    if not text.startswith("{"):
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise EngineUnavailable("TorchServe's token file holds no token")
        return text
    try:
        return str(json.loads(text)["inference"]["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise EngineUnavailable("TorchServe's token file holds no inference key") from error
