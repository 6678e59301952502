"""Attestations as both sides must see them: the build side's bytes, and what the gateway takes or refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from seqserve.attestation import Subject, attesting_keys
from seqserve.errors import ArchiveUntrusted
from seqserve_models.attestation import attestation, statement
from seqserve_models.signing_keys import SigningKey
from support.contract import FOLDER, Case

CONTRACT = json.loads((FOLDER / "attestations.json").read_bytes())
KEYS: dict[str, dict[str, str]] = CONTRACT["keys"]
SUBJECT = Subject(**CONTRACT["subject"])
# What the gateway's reason says, by the kind of a refused case.
WORDS = {
    "FORM": "is no DSSE envelope|has more than 65536 bytes",
    "COUNT": "has 17 signatures; at most 16 are looked at",
    "TYPE": "has payload type|no attestation of an archive",
    "SIGNATURE": "has no signature|no signature of the attestation",
    "STATEMENT": "is no statement in JSON",
    "SUBJECT": "the attestation is for|the attestation is not for one file",
}


def each(part: str) -> pytest.MarkDecorator:
    """All cases of one part."""
    return pytest.mark.parametrize("case", CONTRACT[part], ids=[case["case"] for case in CONTRACT[part]])


def private(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(KEYS[name]["private"]))


@pytest.mark.parametrize("name", KEYS)
def test_a_key_id_comes_from_the_public_half(name: str) -> None:
    public = private(name).public_key()
    assert public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex() == KEYS[name]["public"]
    assert SigningKey.of(private(name)).key_id == KEYS[name]["key_id"]


@each("made")
def test_the_build_side_writes_these_bytes(case: Case) -> None:
    said = statement(case["name"], case["version"], case["sha256"])
    assert said.decode() == case["statement"]
    others: dict[str, str] = {}
    for name in case["keys"]:
        envelope = attestation(said, SigningKey.of(private(name)), others)
        others = {one["keyid"]: one["sig"] for one in json.loads(envelope)["signatures"]}
    assert envelope.decode() == case["envelope"]


def envelope_of(case: Case) -> bytes:
    """A case's text in its encoding; long ones are written as what is repeated."""
    written: Any = case["envelope"]
    if isinstance(written, dict):
        written = written.get("before", "") + written["text"] * written["times"] + written.get("after", "")
    text: str = written
    return text.encode(case.get("encoding", "utf-8"))


def signers(envelope: bytes, subject: Subject) -> tuple[str, ...]:
    public = {
        KEYS[name]["key_id"]: Ed25519PublicKey.from_public_bytes(bytes.fromhex(KEYS[name]["public"]))
        for name in CONTRACT["trusted"]
    }
    return attesting_keys(envelope, public, subject)


def ids(case: Case) -> tuple[str, ...]:
    return tuple(sorted(KEYS[name]["key_id"] for name in case["keys"]))


@each("made")
def test_the_gateway_takes_what_the_build_side_writes(case: Case) -> None:
    subject = Subject(case["name"], case["version"], case["sha256"])
    assert signers(envelope_of(case), subject) == ids(case)


@each("accepted")
def test_the_gateway_takes_what_others_may_write(case: Case) -> None:
    assert signers(envelope_of(case), SUBJECT) == ids(case)


@each("refused")
def test_the_gateway_refuses_with_the_reason(case: Case) -> None:
    with pytest.raises(ArchiveUntrusted, match=WORDS[case["error"]]):
        signers(envelope_of(case), SUBJECT)


def test_every_kind_of_refusal_has_a_case() -> None:
    assert {case["error"] for case in CONTRACT["refused"]} == set(WORDS)
