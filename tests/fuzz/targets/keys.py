"""A trusted key's file: one Ed25519 key, or SettingsInvalid."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from fuzz.target import Cursor, Target, scratch
from fuzz.targets.attestation import TRUSTED
from seqserve.errors import SettingsInvalid
from seqserve.trusted_keys import key_id, read_trusted_keys

AS_IT_IS, IN_PEM = range(2)


def check(data: bytes) -> None:
    """Read a file, or one whose PEM is sound around any bytes."""
    cursor = Cursor(data)
    mode, content = cursor.choice((AS_IT_IS, IN_PEM)), cursor.rest()
    if mode == IN_PEM:
        content = _pem(content)
    path = scratch() / "key.pub"
    path.write_bytes(content)
    try:
        found = read_trusted_keys(path)
    except SettingsInvalid as refused:
        assert str(refused)
        return
    ((who, key),) = found.items()
    assert who == key.key_id == key_id(key.public)
    assert key.name == "key"
    assert load_pem_public_key(content) == key.public


def _pem(der: bytes) -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"


def seeds() -> list[bytes]:
    """A key of the contract in several forms, and keys of other kinds."""
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(TRUSTED[0]["private"]))
    others = ec.derive_private_key(7, ec.SECP256R1()), x25519.X25519PrivateKey.from_private_bytes(bytes(32))
    publics = [each.public_key() for each in (private, *others)]
    pem, der = (
        [public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo) for public in publics]
        for encoding in (Encoding.PEM, Encoding.DER)
    )
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    found = [bytes([AS_IT_IS]) + one for one in (*pem, secret, pem[0] * 2)]
    return found + [bytes([IN_PEM]) + one for one in der]


TARGET = Target(
    "keys",
    check,
    seeds,
    (
        b"-----BEGIN",
        b"-----END",
        b" PUBLIC KEY-----\n",
        b" PRIVATE KEY-----",
        b"CERTIFICATE",
        b"\x2b\x65\x70",
    ),
)
