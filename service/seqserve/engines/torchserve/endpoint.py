"""Where a TorchServe answers, and the tokens that it wants."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seqserve.errors import EngineUnavailable


class Tokens(Protocol):
    """Where TorchServe's bearer tokens come from. Reading raises EngineUnavailable."""

    def inference(self) -> str:
        """For gRPC and the HTTP inference API."""
        ...

    def management(self) -> str:
        """For the management API."""
        ...

    def forget(self) -> None:
        """The server refused them: read them anew at the next call."""
        ...


class TokenFile:
    """The tokens in TorchServe's key_file.json, read once and again after `forget`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, Any] | None = None

    def inference(self) -> str:
        """See Tokens."""
        return self._key("inference")

    def management(self) -> str:
        """See Tokens."""
        return self._key("management")

    def forget(self) -> None:
        """See Tokens. Whoever renews a token writes the file."""
        self._keys = None

    def _key(self, kind: str) -> str:
        try:
            if self._keys is None:
                self._keys = json.loads(self._path.read_bytes())
            return str(self._keys[kind]["key"])
        except (OSError, ValueError, KeyError) as error:
            raise EngineUnavailable("TorchServe's tokens cannot be read") from error


@dataclass(frozen=True, slots=True)
class TorchServeEndpoint:
    """Where a TorchServe answers, and how.

    grpc_target: `host:port` of the gRPC inference API.
    management_url, inference_url: HTTP.
    model_store: the server's model store, a folder we may write to.
    max_message_bytes: what the server takes and sends at most.
    """

    grpc_target: str
    management_url: str
    inference_url: str
    tokens: Tokens
    model_store: Path
    max_message_bytes: int
