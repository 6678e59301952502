"""Signs archives as `seqserve attest` does, but by cryptography alone, and in any wrong way a test wants."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from seqserve.archive import read_archive
from seqserve.errors import ArchiveUntrusted
from seqserve.trust import Trust, attestation_path
from seqserve.trusted_keys import key_id

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class Signer:
    """A private key that only this test has."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def key_id(self) -> str:
        return key_id(self.private.public_key())

    def publish(self, path: Path) -> Path:
        """Write the public half to a file."""
        public = self.private.public_key()
        path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        path.chmod(0o644)
        return path

    def sign(self, payload: bytes, payload_type: str = PAYLOAD_TYPE) -> dict[str, str]:
        """A signature of an envelope."""
        kind = payload_type.encode()
        signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        return {"keyid": self.key_id, "sig": base64.b64encode(self.private.sign(signed)).decode()}


def trusting(folder: Path, **signers: Signer) -> Trust:
    """Require an attestation by one of these, whose keys lie in a folder that is made, as NAME.pub."""
    folder.mkdir(mode=0o755)
    for name, signer in signers.items():
        signer.publish(folder / f"{name}.pub")
    return Trust("require", folder)


def statement_of(archive: Path, **changes: Any) -> bytes:
    """The statement about an archive as it is, with top-level fields changed."""
    name, _, version = archive.stem.rpartition("-")
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": archive.name, "digest": {"sha256": sha256_of(archive)}}],
        "predicateType": "urn:seqserve:archive:v1",
        "predicate": {"name": name, "version": version},
    }
    return json.dumps(document | changes, sort_keys=True, separators=(",", ":")).encode()


def envelope_of(payload: bytes, *signers: Signer) -> dict[str, Any]:
    """An envelope, signed by all."""
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [signer.sign(payload) for signer in signers],
    }


def attest(archive: Path, *signers: Signer) -> Path:
    """Write the attestation of an archive as it is; return its path."""
    return put_envelope(archive, envelope_of(statement_of(archive), *signers))


def put_envelope(archive: Path, envelope: Mapping[str, Any] | bytes) -> Path:
    """Lay any envelope beside an archive."""
    path = attestation_path(archive)
    path.write_bytes(envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode())
    return path


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refusal(archive: Path, trust: Trust) -> ArchiveUntrusted:
    """Why an archive is not taken; the words begin with its name."""
    with pytest.raises(ArchiveUntrusted) as refused:
        read_archive(archive, trust)
    assert str(refused.value).startswith(f"{archive.name}: ")
    return refused.value
