"""An attestation beside an archive: trusted only where a trusted key has signed exactly this."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fuzz.json_mutator import mutated
from fuzz.target import Cursor, Target
from seqserve.attestation import Subject, attesting_keys
from seqserve.errors import ArchiveUntrusted
from support.attesting import PAYLOAD_TYPE, Signer, envelope_of
from support.contract import FOLDER

CONTRACT = json.loads((FOLDER / "attestations.json").read_bytes())
SUBJECT = Subject(**CONTRACT["subject"])
TRUSTED = [CONTRACT["keys"][name] for name in CONTRACT["trusted"]]
AS_IT_IS, SIGNED = range(2)


def check(data: bytes) -> None:
    """Ask about an envelope, or about any payload that a trusted key has signed."""
    cursor = Cursor(data)
    mode, content = cursor.choice((AS_IT_IS, SIGNED)), cursor.rest()
    envelope = content if mode == AS_IT_IS else json.dumps(envelope_of(content, _signer())).encode()
    try:
        found = attesting_keys(envelope, _keys(), SUBJECT)
    except ArchiveUntrusted as refused:
        assert str(refused)
        return
    assert found
    assert {*found} <= _keys().keys()
    _check_independently(json.loads(envelope), found)


def _check_independently(envelope: dict[str, Any], found: tuple[str, ...]) -> None:
    """By the statement's words and by cryptography alone."""
    payload = _base64(envelope["payload"])
    statement = json.loads(payload)
    (file,) = statement["subject"]
    assert file["name"] == f"{SUBJECT.name}-{SUBJECT.version}.mar"
    assert file["digest"]["sha256"] == SUBJECT.sha256
    kind = PAYLOAD_TYPE.encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    for who in found:
        assert any(_verifies(_keys()[who], _base64(one["sig"]), signed) for one in envelope["signatures"])


def _verifies(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _base64(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "/"))


@cache
def _signer() -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(TRUSTED[0]["private"])))


@cache
def _keys() -> dict[str, Ed25519PublicKey]:
    return {
        key["key_id"]: Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["public"])) for key in TRUSTED
    }


def seeds() -> list[bytes]:
    """The contract's envelopes, and its statements to be signed anew."""
    texts = [case["envelope"] for part in ("made", "accepted", "refused") for case in CONTRACT[part]]
    envelopes = [text.encode() for text in texts if isinstance(text, str)]
    statements = [case["statement"].encode() for case in CONTRACT["made"]]
    found = [bytes([AS_IT_IS]) + envelope for envelope in envelopes]
    found += [bytes([SIGNED]) + statement for statement in statements]
    return [seed for seed in found if len(seed) <= TARGET.max_bytes]


TARGET = Target(
    "attestation",
    check,
    seeds,
    (
        b'"payload"', b'"payloadType"', b'"signatures"', b'"keyid"', b'"sig"', b'"_type"', b'"subject"', b'"digest"',
        b'"sha256"', b'"predicate"', b'"predicateType"', b"[[[[", b'{"":', b"\\ud800", b"NaN", b"null",
    ),
    mutate=mutated,
)  # fmt: skip
