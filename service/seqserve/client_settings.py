"""One client's own section in the settings, `[clients.<name>]`: its tokens, and what they are good for.

A token is 256 random bits (`seqserve tokens new`), and only its SHA-256 is kept: nobody can go through all
of them, so a slow hash would add nothing but time to every call. Sections follow the file while the gateway
runs: a client with two tokens changes from one to the other without a pause.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Scope = Literal["inference", "admin", "metrics"]

TOKEN_PREFIX = "ssv_"  # noqa: S105 - programs that look for secrets in files know tokens by it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")


def _check_name(name: str) -> str:
    if name.startswith(TOKEN_PREFIX):
        raise ValueError("a client's name is no token")
    if _NAME.fullmatch(name) is None:
        raise ValueError("a client's name has letters, digits, `_`, `.`, `-`, at most 64, the first no sign")
    return name


def _check_hash(text: str) -> str:
    """Nothing of it is told: it may be a token."""
    if text.startswith(TOKEN_PREFIX):
        raise ValueError("this is a token; its SHA-256 belongs here, as `seqserve tokens new` prints it")
    if _HASH.fullmatch(text) is None:
        raise ValueError("a SHA-256 has 64 digits, of 0-9 and a-f")
    return text


ClientName = Annotated[str, AfterValidator(_check_name)]
TokenHash = Annotated[str, AfterValidator(_check_hash)]

MOST_TOKENS = 16


class ClientSettings(BaseModel):
    """Who it is that calls with one of these tokens; None: no limit of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="python-re")

    token_sha256: tuple[TokenHash, ...] = Field(
        min_length=1, max_length=MOST_TOKENS, description="SHA-256 of each token that holds, in hexadecimal."
    )
    scopes: tuple[Scope, ...] = Field(
        ("inference",), min_length=1, description="inference, admin (load and unload), metrics."
    )
    max_concurrent_requests: int | None = Field(
        None, ge=1, description="Inference requests that may be under way at once."
    )
    max_requests_per_second: float | None = Field(
        None,
        ge=1e-3,
        le=1e9,
        description="Inference requests a second, in the mean; at once as many as in one second.",
    )


def _give_each_token_one_client(clients: dict[str, ClientSettings]) -> dict[str, ClientSettings]:
    owners: dict[str, str] = {}
    for name, own in clients.items():
        for digest in own.token_sha256:
            if owners.setdefault(digest, name) != name:
                raise ValueError(f"{owners[digest]} and {name} have the same token")
    return clients


Clients = Annotated[dict[ClientName, ClientSettings], AfterValidator(_give_each_token_one_client)]
"""By name; no token is two clients'."""
