"""A gateway that trusts nobody: mutual TLS and tokens; and what its callers need for it, as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seqserve.access.tokens import new_token, token_digest
from support.certificates import Authority, replace
from support.served import Served, serving

TOKENS = {"caller": ("token", "token.new"), "operator": ("token.admin",), "scraper": ("token.metrics",)}
SCOPES = {"caller": ["inference"], "operator": ["inference", "admin"], "scraper": ["metrics"]}


@dataclass(frozen=True)
class Guarded:
    """The gateway, and the folder for callers.

    It has ca.crt, client.crt and client.key, foreign.crt of a CA that nobody trusts, a file for each of
    TOKENS, and token.wrong.
    """

    served: Served
    folder: Path

    @property
    def http(self) -> str:
        """HOST:PORT of HTTPS."""
        return self.served.http.removeprefix("http://")

    def token(self, name: str = "token") -> str:
        """What a file of TOKENS holds."""
        return (self.folder / name).read_text()


@contextmanager
def guarding(folder: Path, store: Path) -> Iterator[Guarded]:
    """Serve a store so, until the block ends. folder: for the files, and the log."""
    callers, authority = folder / "callers", Authority.made()
    key, certificate = authority.issue().write(folder)
    ca = authority.write(callers)
    authority.issue("client", ()).write(callers, "client")
    Authority.made("another CA").write(callers, "foreign")
    for name in ("token.wrong", *sum(TOKENS.values(), ())):
        replace(callers / name, new_token().encode())
    tls = (f"--tls-certificate={certificate}", f"--tls-key={key}", f"--tls-client-ca={ca}")
    options = ("--health-port=0", "--admin-on-inference-port", *tls)
    with serving(folder, store, *options, SEQSERVE_CLIENTS=json.dumps(_clients(callers))) as served:
        yield Guarded(served, callers)


def _clients(callers: Path) -> dict[str, dict[str, list[str]]]:
    return {
        name: {
            "token_sha256": [token_digest((callers / file).read_text()).hex() for file in files],
            "scopes": SCOPES[name],
        }
        for name, files in TOKENS.items()
    }
