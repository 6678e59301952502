"""One client: who it is that calls with one of its tokens."""

from __future__ import annotations

from dataclasses import dataclass

from seqserve.access.room import Room
from seqserve.client_settings import Scope


@dataclass(frozen=True, slots=True)
class Client:
    """name: of its section in the settings."""

    name: str
    scopes: frozenset[Scope]
    room: Room
