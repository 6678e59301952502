"""Whether somebody trusted has signed that an archive's bytes are this version of this model.

`<archive>.sig` is a DSSE envelope (https://github.com/secure-systems-lab/dsse) around an in-toto statement
(https://github.com/in-toto/attestation). Nothing is parsed of the statement before a signature over it has
been verified, and nothing of the archive here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqserve.errors import ArchiveUntrusted, quote_came

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SUFFIX = ".sig"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:seqserve:archive:v1"
MAX_ENVELOPE_BYTES = 65536
MAX_SIGNATURES = 16
_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class Subject:
    """What must have been attested: the SHA-256 (hex) of the file `<name>-<version>.mar`."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class EnvelopeSignature:
    """One of an envelope. keyid: a hint which key to try, "" where there is none."""

    keyid: str
    signature: bytes


def attesting_keys(
    envelope: bytes, keys: Mapping[str, Ed25519PublicKey], subject: Subject
) -> tuple[str, ...]:
    """Ids of the keys, sorted, whose signatures over an attestation of the subject verify; at least one.

    keys: the trusted ones, by id. Raises ArchiveUntrusted with the reason.
    """
    payload, signatures = parse_envelope(envelope)
    found = {who for one in signatures for who in _signers(one, payload, keys)}
    if not found:
        raise ArchiveUntrusted(_unsigned(signatures, keys))
    _check_statement(payload, subject)
    return tuple(sorted(found))


def parse_envelope(envelope: bytes) -> tuple[bytes, list[EnvelopeSignature]]:
    """What is signed, and its signatures, none of which has been verified. Raises ArchiveUntrusted."""
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise ArchiveUntrusted(f"the attestation has more than {MAX_ENVELOPE_BYTES} bytes")
    try:
        document = _strict_object(envelope)
        kind, payload = document["payloadType"], _decoded(document["payload"])
        signatures = [_parse_signature(one) for one in _list(document["signatures"])]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArchiveUntrusted("the attestation is no DSSE envelope") from error
    if kind != PAYLOAD_TYPE:
        raise ArchiveUntrusted(f"the attestation has payload type {quote_came(kind)}, not {PAYLOAD_TYPE}")
    if len(signatures) > MAX_SIGNATURES:  # whoever writes the store would choose how long we compute
        raise ArchiveUntrusted(
            f"the attestation has {len(signatures)} signatures; at most {MAX_SIGNATURES} are looked at"
        )
    return payload, signatures


def _parse_signature(one: Any) -> EnvelopeSignature:
    """Raises KeyError, TypeError, ValueError."""
    keyid = one.get("keyid", "") if isinstance(one, dict) else None
    if not isinstance(keyid, str):
        raise TypeError("no signature")
    return EnvelopeSignature(keyid, _decoded(one["sig"]))


def _signers(one: EnvelopeSignature, payload: bytes, keys: Mapping[str, Ed25519PublicKey]) -> Iterator[str]:
    """The id is a hint which key to try; a signature without one is tried with all."""
    signed = _pre_authentication_encoding(payload)
    for who in [one.keyid] if one.keyid else keys:
        if who in keys and _verifies(keys[who], one.signature, signed):
            yield who


def _verifies(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see trusted_keys.py

    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _unsigned(signatures: Sequence[EnvelopeSignature], keys: Mapping[str, Ed25519PublicKey]) -> str:
    named = sorted({one.keyid for one in signatures if one.keyid})
    if not signatures:
        return "the attestation has no signature"
    if named and not keys.keys() & {*named}:
        told = f"{quote_came(named[0])}{and_others(len(named) - 1)}"
        return f"no signature of the attestation is by a trusted key: {told}"
    return "no signature of the attestation verifies with a trusted key"


def _pre_authentication_encoding(payload: bytes) -> bytes:
    """DSSE's: with it a signature holds for one type of payload alone."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def and_others(count: int) -> str:
    """Words that follow those of many that are named."""
    return "" if count < 1 else f" and {count} other{'s' if count > 1 else ''}"


def _check_statement(payload: bytes, subject: Subject) -> None:
    try:
        statement = _strict_object(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArchiveUntrusted("what is signed is no statement in JSON") from error
    kinds = statement.get("_type"), statement.get("predicateType")
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE):
        told = " with ".join(map(quote_came, kinds))
        raise ArchiveUntrusted(f"what is signed is {told}, no attestation of an archive")
    predicate = statement.get("predicate")
    if not isinstance(predicate, dict):
        predicate = {}
    _compare("name", predicate.get("name"), subject.name)
    _compare("version", predicate.get("version"), subject.version)
    _compare_bytes(statement.get("subject"), subject)


def _compare(what: str, attested: object, wanted: str) -> None:
    if attested != wanted:
        raise ArchiveUntrusted(f"the attestation is for {what} {quote_came(attested)}, not {wanted}")


def _compare_bytes(attested: object, subject: Subject) -> None:
    """Exactly one file, by its name and its bytes."""
    one = attested[0] if isinstance(attested, list) and len(attested) == 1 else None
    if not isinstance(one, dict) or not isinstance(one.get("digest"), dict):
        raise ArchiveUntrusted("the attestation is not for one file with a digest")
    _compare("file", one.get("name"), f"{subject.name}-{subject.version}.mar")
    sha256 = one["digest"].get("sha256")
    if sha256 != subject.sha256:
        raise ArchiveUntrusted(
            f"the attestation is for other bytes: SHA-256 {quote_came(sha256)}, not {subject.sha256}"
        )


def _strict_object(content: bytes) -> dict[str, Any]:
    """Raises TypeError, ValueError, RecursionError."""
    document = json.loads(content.decode("utf-8"), object_pairs_hook=_without_duplicates)
    if not isinstance(document, dict):
        raise TypeError("no object")
    return document


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key twice")
    return document


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _decoded(text: Any) -> bytes:
    """Of base64 in either alphabet. Raises TypeError, ValueError."""
    if not isinstance(text, str):
        raise TypeError("no text")
    return base64.b64decode(text.translate(_URL_SAFE), validate=True)
