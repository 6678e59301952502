"""Holds a release against its provenance: first the signature, with the builder's key, then every hash."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from seqserve_models.regular_file import open_regular
from supply.builds import sha256
from supply.provenance import ENVELOPE, PREDICATE_TYPE, PROVENANCE, STATEMENT_TYPE

PAYLOAD_TYPE = "application/vnd.in-toto+json"


class NotVerified(Exception):
    """Something is not what the provenance says, or nobody trusted says it."""


def verify(folder: Path, key: Ed25519PublicKey) -> list[str]:
    """The names of the files that are as the key's owner has built them, and nothing else lies there.

    Raises NotVerified, OSError.
    """
    said = _signed(json.loads(_read(folder / ENVELOPE)), key)
    statement = json.loads(said)
    if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise NotVerified(f"{ENVELOPE} signs something else than provenance")
    named = {**dict(_named(statement)), PROVENANCE: sha256(said)}
    for name, digest in named.items():
        if "/" in name or sha256(_read(folder / name)) != digest:
            raise NotVerified(f"{name} is not what was built")
    if others := sorted({path.name for path in folder.iterdir()} - named.keys() - {ENVELOPE}):
        raise NotVerified(f"{others[0]} is not named by {PROVENANCE}")
    return sorted(named)


def read_key(path: Path) -> Ed25519PublicKey:
    """A public key in PEM. Raises NotVerified for another kind, ValueError, OSError."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise NotVerified(f"{path} is no Ed25519 key")
    return key


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 where anything does not fit, after saying what."""
    parser = argparse.ArgumentParser(prog="python -m supply.verify", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", type=Path, required=True, help="the builder's NAME.pub")
    given = parser.parse_args(arguments)
    try:
        names = verify(given.folder, read_key(given.key))
    except (NotVerified, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        print(f"not verified: {error}", file=sys.stderr)
        return 1
    commit = json.loads(_read(given.folder / PROVENANCE))["predicate"]["buildDefinition"]
    print(f"verified: {', '.join(names)}; commit {commit['externalParameters']['commit']}")
    return 0


def _read(path: Path) -> bytes:
    """Raises OSError, for a link or a pipe too."""
    with open_regular(path, follows_links=False) as file:
        return file.read()


def _signed(envelope: dict[str, Any], key: Ed25519PublicKey) -> bytes:
    """The payload, once a signature over it and its type holds (https://github.com/secure-systems-lab/dsse)."""
    payload = base64.b64decode(envelope["payload"], validate=True)
    kind = PAYLOAD_TYPE.encode()
    content = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    for signature in envelope["signatures"]:
        try:
            key.verify(base64.b64decode(signature["sig"], validate=True), content)
        except InvalidSignature:
            continue
        return payload
    raise NotVerified("no signature is of this key")


def _named(statement: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for described in (*statement["subject"], *statement["predicate"]["runDetails"]["byproducts"]):
        yield described["name"], described["digest"]["sha256"]


if __name__ == "__main__":
    sys.exit(main())
