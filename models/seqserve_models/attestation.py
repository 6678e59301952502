"""Says over a private key's name that an archive's bytes are a version of a model: `<archive>.sig`.

A DSSE envelope (https://github.com/secure-systems-lab/dsse) around an in-toto statement
(https://github.com/in-toto/attestation), both JSON. Nothing of the archive is parsed here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqserve_models.errors import NotAttestable
from seqserve_models.regular_file import open_regular
from seqserve_models.signing_keys import KEY_ID_CHARACTERS, SigningKey
from seqserve_models.store import ATTESTATION, SUM, beside, put_companion

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:seqserve:archive:v1"
MAX_ENVELOPE_BYTES = 65536
MAX_SIGNATURES = 16
"""As the gateway: it refuses an attestation that has more."""
MAX_SUM_BYTES = 4096
SIGNATURE_BYTES = 64
ARCHIVE_NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,127})-(?P<version>[1-9][0-9]{0,17})\.mar")
KEY_ID = re.compile(rf"[0-9a-f]{{{KEY_ID_CHARACTERS}}}")


@dataclass(frozen=True)
class Attested:
    """An archive that a key has attested; sha256 in hex. path: of the attestation.

    kept: signatures of other keys that were there and stay. has_replaced: whether something was there that
    attested no such archive, and is gone.
    """

    path: Path
    sha256: str
    key_id: str
    kept: int = 0
    has_replaced: bool = False


def statement(name: str, version: str, sha256: str) -> bytes:
    """What is signed: that the archive with this SHA-256 (hex) is this version of this model."""
    return _json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": f"{name}-{version}.mar", "digest": {"sha256": sha256}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"name": name, "version": version},
        }
    )


def attestation(said: bytes, key: SigningKey, others: Mapping[str, str] | None = None) -> bytes:
    """The envelope of a statement, signed. others: signatures (base64) that it has already, by key id."""
    signature = base64.b64encode(key.sign(_pre_authentication_encoding(said))).decode()
    signatures = {**(others or {}), key.key_id: signature}
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(said).decode(),
        "signatures": [{"keyid": who, "sig": signatures[who]} for who in sorted(signatures)],
    }
    return _json(envelope) + b"\n"


def companions_for(archive: bytes, name: str, version: str, key: SigningKey | None) -> dict[str, bytes]:
    """What a build publishes beside an archive, by suffix: its attestation, where there is a key."""
    if key is None:
        return {}
    said = statement(name, version, hashlib.sha256(archive).hexdigest())
    return {ATTESTATION: attestation(said, key)}


def attest_archive(path: Path, key: SigningKey) -> Attested:
    """Attest an archive of a store under the name and version of its file, if its SHA-256 fits.

    Signatures of other keys over the same stay. Raises NotAttestable, StoreUnwritable.
    """
    named = ARCHIVE_NAME.fullmatch(path.name)
    if named is None:
        raise NotAttestable(f"{path.name} is not called NAME-VERSION.mar")
    sha256 = _sha256(path)
    _check_sum(path, sha256)
    said = statement(named["name"], named["version"], sha256)
    there = _read_if_there(beside(path, ATTESTATION))
    others = None if there is None else _signatures_of_others(there, said, key)
    target = beside(path, ATTESTATION)
    if len(others or ()) >= MAX_SIGNATURES:
        raise NotAttestable(
            f"{target} has too many signatures: at most {MAX_SIGNATURES}", hint="remove it and attest again"
        )
    put_companion(attestation(said, key, others), path, ATTESTATION)
    return Attested(target, sha256, key.key_id, len(others or ()), there is not None and others is None)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _pre_authentication_encoding(said: bytes) -> bytes:
    """DSSE's: with it a signature holds for one type of payload alone."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(said), said)


def _sha256(path: Path) -> str:
    try:
        with open_regular(path, follows_links=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NotAttestable(f"{path} cannot be read: {error.strerror or error}") from error


def _check_sum(path: Path, sha256: str) -> None:
    """Bytes that are not those of the build must not be attested by accident."""
    beside_it = beside(path, SUM)
    found = _read_if_there(beside_it, MAX_SUM_BYTES)
    if found is None:
        raise NotAttestable(f"{beside_it} is missing", hint="a build writes it beside its archive")
    if found.split(maxsplit=1)[:1] != [sha256.encode()]:
        raise NotAttestable(f"{path}: SHA-256 is {sha256}, and {beside_it.name} says otherwise")


def _read_if_there(path: Path, max_bytes: int = MAX_ENVELOPE_BYTES) -> bytes | None:
    """Not more than one byte above the limit."""
    try:
        with open_regular(path, follows_links=False) as file:
            return file.read(max_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotAttestable(f"{path} cannot be read: {error.strerror or error}") from error


def _signatures_of_others(envelope: bytes, said: bytes, key: SigningKey) -> dict[str, str] | None:
    """Those of an envelope of the same statement, by key id; None where it is none.

    Without their public keys they can only be looked at, not verified.
    """
    if len(envelope) > MAX_ENVELOPE_BYTES:
        return None
    try:
        document = json.loads(envelope, object_pairs_hook=_without_duplicates)
        if document["payloadType"] != PAYLOAD_TYPE or _decoded(document["payload"]) != said:
            return None
        signatures = {one["keyid"]: one["sig"] for one in document["signatures"] if _is_signature(one)}
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    signatures.pop(key.key_id, None)
    return signatures


def _is_signature(one: Any) -> bool:
    return bool(KEY_ID.fullmatch(one["keyid"])) and len(_decoded(one["sig"])) == SIGNATURE_BYTES


def _decoded(text: Any) -> bytes:
    """Raises ValueError, TypeError."""
    if not isinstance(text, str):
        raise TypeError("no text")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key twice")
    return document
