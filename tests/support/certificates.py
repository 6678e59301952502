"""A private certificate authority, made up for a test."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

AN_HOUR = timedelta(hours=1)
LOOPBACK = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and the certificate of its public half, both as PEM."""

    key: bytes
    certificate: bytes

    def write(self, folder: Path, name: str = "tls") -> tuple[Path, Path]:
        """As `NAME.key`, for its owner alone, and `NAME.crt` in a folder that is made; the two paths."""
        folder.mkdir(parents=True, exist_ok=True)
        key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
        replace(key, self.key)
        replace(certificate, self.certificate)
        return key, certificate


@dataclass(frozen=True)
class Authority:
    """Its key and its own certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def made(cls, common_name: str = "a private CA") -> Self:
        """A new one of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(common_name)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = _builder(name, name, key.public_key()).add_extension(constraints, critical=True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @property
    def pem(self) -> bytes:
        """What clients are to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, folder: Path, name: str = "ca") -> Path:
        """What clients are to trust, as `NAME.crt` in a folder that is made; its path."""
        folder.mkdir(parents=True, exist_ok=True)
        replace(path := folder / f"{name}.crt", self.pem)
        return path

    def issue(
        self,
        common_name: str = "seqserve",
        names: Sequence[str] = LOOPBACK,
        *,
        valid_for: timedelta = AN_HOUR,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        usage: x509.ObjectIdentifier | None = None,
    ) -> Pair:
        """A new pair. names: of hosts, or their addresses; none for a client.

        valid_for: from not_before, which is a minute ago by default; not_after beats it.
        usage: what alone it is good for, of x509.oid.ExtendedKeyUsageOID; None for anything.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        start = not_before or datetime.now(UTC) - timedelta(minutes=1)
        builder = _builder(
            _name(common_name),
            self.certificate.subject,
            key.public_key(),
            start,
            not_after or start + valid_for,
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(map(_host, names)), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return Pair(_private(key), certificate.public_bytes(serialization.Encoding.PEM))

    def credentials(self, *names: x509.GeneralName) -> grpc.ServerCredentials:
        """For a server of these names."""
        pair = self.issue("torchserve", [str(name.value) for name in names])
        return grpc.ssl_server_credentials([(pair.key, pair.certificate)])


def replace(path: Path, content: bytes) -> None:
    """Put a file there in one step, for nobody but its owner."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    new.replace(path)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> x509.CertificateBuilder:
    start = not_before or datetime.now(UTC) - timedelta(minutes=1)
    return x509.CertificateBuilder(
        issuer, subject, key, x509.random_serial_number(), start, not_after or start + AN_HOUR
    )
