"""The gateway's certificate, its key and who may sign clients' certificates: read, checked and followed.

The files are looked at when somebody shakes hands or asks for metrics, at most once a second, and what
they hold is compared, not their times: so it does not matter how they were replaced. What is faulty
changes nothing; it is told when it is still so at the next look, since a pair takes two steps to write.
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import structlog

from seqserve.errors import SettingsInvalid
from seqserve.regular_file import read_regular
from seqserve.shortage import shortage_of

# At run time it is imported where there are certificates: it takes 9 MB, and most gateways have none.
if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

log = structlog.get_logger()

LOOK_SECONDS = 1.0
MAX_FILE_BYTES = 2**20
HTTP_PROTOCOLS = ("http/1.1",)

Reload = Literal["loaded", "refused"]
PrivateKey: TypeAlias = "rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where they lie. client_ca: None where clients need no certificate."""

    key: Path
    certificate: Path
    client_ca: Path | None = None

    def read(self) -> Contents:
        """What they hold now. Raises SettingsInvalid."""
        return Contents(
            key=_read("tls_key", self.key),
            certificate=_read("tls_certificate", self.certificate),
            client_ca=None if self.client_ca is None else _read("tls_client_ca", self.client_ca),
        )


@dataclass(frozen=True, slots=True)
class Contents:
    """Bytes of the three files."""

    key: bytes = field(repr=False)
    certificate: bytes
    client_ca: bytes | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the gateway is, checked: key and certificates fit, and OpenSSL takes them.

    chain: the gateway's own certificate first. key_pem, chain_pem, client_ca_pem: as gRPC wants them.
    context: for servers of HTTP/1.1 in Python, shared by all of their connections.
    """

    contents: Contents
    chain: tuple[x509.Certificate, ...]
    key_pem: bytes = field(repr=False)
    chain_pem: bytes
    client_ca_pem: bytes | None
    context: ssl.SSLContext

    @property
    def expires(self) -> datetime:
        """When the gateway's own certificate does, in UTC."""
        return self.chain[0].not_valid_after_utc

    def time_fault(self, now: datetime) -> str:
        """Why nobody accepts it at this time, "" where it is valid."""
        own = self.chain[0]
        if now > own.not_valid_after_utc:
            return f"it expired at {own.not_valid_after_utc.isoformat()}"
        if now < own.not_valid_before_utc:
            return f"it is not valid before {own.not_valid_before_utc.isoformat()}"
        return ""


def identity_of(files: TlsFiles) -> Identity:
    """Read and check them. Raises SettingsInvalid that names the setting, the file and the reason."""
    return _checked(files, files.read())


class Certificates:
    """The identity in use, which follows the files; for several threads.

    on_reload: hears of new files that were `loaded` or `refused`.
    monotonic: seconds of a clock that never goes back. now: the time of day.
    """

    def __init__(
        self,
        files: TlsFiles,
        on_reload: Callable[[Reload], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Read them a first time. Raises SettingsInvalid; one that has expired is only told."""
        self._files = files
        self._on_reload = on_reload
        self._monotonic, self._now = monotonic, now
        self._identity = identity_of(files)
        self._lock = threading.Lock()
        self._looked = monotonic()
        self._seen = self._told = ""
        if fault := self._identity.time_fault(now()):
            log.error("clients will not accept this certificate", file=str(files.certificate), reason=fault)

    def current(self) -> Identity:
        """The one in use, after a look at the files where one is due."""
        with self._lock:
            if self._monotonic() - self._looked >= LOOK_SECONDS:
                self._looked = self._monotonic()
                self._look()
            return self._identity

    def expiry_timestamp(self) -> float:
        """When the certificate in use expires, in seconds since 1970."""
        return self.current().expires.timestamp()

    def _look(self) -> None:
        try:
            contents = self._files.read()
            if contents != self._identity.contents:
                self._take(self._still_valid(_checked(self._files, contents)))
            self._seen = self._told = ""
        except SettingsInvalid as error:
            if not shortage_of(error):  # which says nothing of the files
                self._doubt(str(error))

    def _still_valid(self, new: Identity) -> Identity:
        """Raises SettingsInvalid for one that nobody would accept; the old one is better, or no worse."""
        if fault := new.time_fault(self._now()):
            raise _invalid("tls_certificate", self._files.certificate, fault)
        return new

    def _take(self, new: Identity) -> None:
        self._identity = new
        self._on_reload("loaded")
        log.info("new certificate", file=str(self._files.certificate), expires=new.expires.isoformat())

    def _doubt(self, fault: str) -> None:
        """Tell of a fault once, when it is seen for the second time."""
        if fault == self._seen and fault != self._told:
            self._told = fault
            self._on_reload("refused")
            log.error("new certificate refused, the old one stays", reason=fault)
        self._seen = fault


def _read(setting: str, path: Path) -> bytes:
    """Never waits, since handshakes do; through links, since orchestrators mount secrets so."""
    try:
        return read_regular(path, MAX_FILE_BYTES, follows_links=True)
    except OSError as error:
        raise _invalid(setting, path, error.strerror or "it cannot be read") from error


def _checked(files: TlsFiles, contents: Contents) -> Identity:
    key = _parse_key(files.key, contents.key)
    chain = _parse_certificates("tls_certificate", files.certificate, contents.certificate)
    if key.public_key() != chain[0].public_key():
        raise _invalid(
            "tls_key", files.key, f"it is not the key of the first certificate in {files.certificate}"
        )
    key_pem, chain_pem = _pem_of_key(key), _pem_of(chain)
    client_ca_pem = None
    if files.client_ca is not None and contents.client_ca is not None:
        client_ca_pem = _pem_of(_parse_certificates("tls_client_ca", files.client_ca, contents.client_ca))
    try:
        context = _context(key_pem, chain_pem, client_ca_pem)
    except ssl.SSLError as error:
        raise _invalid("tls_certificate", files.certificate, f"OpenSSL: {error.reason or error}") from error
    except OSError as error:
        raise _invalid("tls_certificate", files.certificate, error.strerror or str(error)) from error
    return Identity(contents, chain, key_pem, chain_pem, client_ca_pem, context)


def _parse_key(path: Path, content: bytes) -> PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        # OpenSSL compares it with the certificate; a full check of an RSA key takes a tenth of a second.
        key = load_pem_private_key(content, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError as error:
        raise _invalid(
            "tls_key", path, "it is encrypted, and nobody is here to type a password",
            hint="write it without one, for the gateway's user alone: openssl pkey -in FILE -out NEW",
        ) from error  # fmt: skip
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _invalid("tls_key", path, "it holds no private key in PEM") from error
    curves, kinds = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1), (rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)
    is_odd_curve = isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, curves)
    if is_odd_curve or not isinstance(key, (ec.EllipticCurvePrivateKey, *kinds)):
        raise _invalid("tls_key", path, "gRPC takes RSA, Ed25519 and the curves P-256, P-384 and P-521 only")
    return key


def _parse_certificates(setting: str, path: Path, content: bytes) -> tuple[x509.Certificate, ...]:
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415

    try:
        certificates = tuple(x509.load_pem_x509_certificates(content))
        for each in certificates:
            each.public_key()  # only now is it parsed
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _invalid(setting, path, "it holds no certificates in PEM, or a broken one") from error
    return certificates


def _pem_of_key(key: PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - see above
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem_of(certificates: tuple[x509.Certificate, ...]) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - see above

    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def _context(key_pem: bytes, chain_pem: bytes, client_ca_pem: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(HTTP_PROTOCOLS)
    _load(context, chain_pem + key_pem)
    if client_ca_pem is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # as gRPC: any of them is enough
        context.load_verify_locations(cadata=client_ca_pem.decode("ascii"))
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Load what has been checked, and not what the files hold by now; OpenSSL takes nothing but files."""
    descriptor = os.memfd_create("tls")
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")


def _invalid(setting: str, path: Path, reason: str, hint: str = "") -> SettingsInvalid:
    return SettingsInvalid(f"{setting}: {path}: {reason}", hint=hint)
