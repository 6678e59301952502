"""Certificates and keys: what is refused, and what happens as the files change."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from structlog.testing import capture_logs

from seqserve.certificates import LOOK_SECONDS, MAX_FILE_BYTES, Certificates, Identity, TlsFiles, identity_of
from seqserve.errors import SettingsInvalid
from support.batching import FakeClock
from support.certificates import Authority, Pair, replace

PASSWORD = b"secret"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.made()


def pem(key: PrivateKeyTypes, encryption: serialization.KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


# ---- what is refused ----


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("key", b"", "tls_key: .*tls.key: it holds no private key in PEM"),
        ("key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "no private key in PEM"),
        ("key", pem(ec.generate_private_key(ec.SECP256R1())), "it is not the key of the first certificate in .*tls.crt"),
        ("key", pem(ec.generate_private_key(ec.SECP256K1())), "gRPC takes RSA, Ed25519 and the curves"),
        ("key", pem(dsa.generate_private_key(2048)), "gRPC takes RSA, Ed25519 and the curves"),
        ("key", b"x" * (MAX_FILE_BYTES + 1), f"it has more than {MAX_FILE_BYTES} bytes"),
        ("certificate", b"no certificate", "tls_certificate: .*tls.crt: it holds no certificates in PEM"),
        ("client_ca", b"", "tls_client_ca: .*ca.crt: it holds no certificates in PEM"),
    ],
    ids=["no key", "broken key", "other key", "odd curve", "DSA", "huge", "no certificate", "no client CA"],
)  # fmt: skip
def test_what_cannot_be_used_is_named(
    tmp_path: Path, authority: Authority, file: str, content: bytes, fault: str
) -> None:
    key, certificate = authority.issue().write(tmp_path)
    files = TlsFiles(key, certificate, authority.write(tmp_path))
    getattr(files, file).write_bytes(content)
    with pytest.raises(SettingsInvalid, match=fault):
        identity_of(files)


@pytest.mark.parametrize("file", ["certificate", "client_ca"])
def test_a_certificate_whose_key_is_on_no_curve_is_broken(
    tmp_path: Path, authority: Authority, file: str
) -> None:
    """It is parsed as a certificate; its key is, only when somebody asks for it."""
    key, certificate = authority.issue().write(tmp_path)
    files = TlsFiles(key, certificate, authority.write(tmp_path))
    path = getattr(files, file)
    der = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)
    at = der.index(b"\x03\x42\x00\x04") + 20  # within the point: BIT STRING, 66 bytes, uncompressed
    broken = der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]
    path.write_text(ssl.DER_cert_to_PEM_cert(broken))

    with pytest.raises(SettingsInvalid, match="it holds no certificates in PEM, or a broken one"):
        identity_of(files)


def test_a_file_that_is_not_there_is_named(tmp_path: Path, authority: Authority) -> None:
    key, certificate = authority.issue().write(tmp_path)
    key.unlink()
    with pytest.raises(SettingsInvalid, match=r"tls_key: .*tls.key: No such file or directory"):
        identity_of(TlsFiles(key, certificate))


@pytest.mark.parametrize("file", ["key", "certificate", "client_ca"])
def test_a_pipe_does_not_keep_handshakes_waiting_for_its_writer(
    tmp_path: Path, authority: Authority, file: str
) -> None:
    files = TlsFiles(*authority.issue().write(tmp_path), authority.write(tmp_path))
    path: Path = getattr(files, file)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SettingsInvalid, match=f"tls_{file}: {path}: it is not a regular file"):
        identity_of(files)


def test_links_are_followed_since_secrets_are_mounted_so(tmp_path: Path, authority: Authority) -> None:
    pair = authority.issue()
    (tmp_path / "..data").mkdir()
    for path in pair.write(tmp_path / "..data"):
        (tmp_path / path.name).symlink_to(f"..data/{path.name}")
    found = identity_of(TlsFiles(tmp_path / "tls.key", tmp_path / "tls.crt"))
    assert found.chain_pem == pair.certificate


def test_an_encrypted_key_is_refused_with_a_way_out(tmp_path: Path, authority: Authority) -> None:
    pair = authority.issue()
    plain = serialization.load_pem_private_key(pair.key, None)
    encrypted = pem(plain, serialization.BestAvailableEncryption(PASSWORD))
    key, certificate = Pair(encrypted, pair.certificate).write(tmp_path)
    with pytest.raises(SettingsInvalid, match="it is encrypted") as refused:
        identity_of(TlsFiles(key, certificate))
    assert "openssl pkey" in refused.value.hint


def test_a_chain_keeps_its_order(tmp_path: Path, authority: Authority) -> None:
    pair = authority.issue()
    key, certificate = Pair(pair.key, pair.certificate + authority.pem).write(tmp_path)
    assert identity_of(TlsFiles(key, certificate)).chain_pem == pair.certificate + authority.pem


def test_the_key_is_not_to_be_seen_where_an_identity_is_written_out(
    tmp_path: Path, authority: Authority
) -> None:
    pair = authority.issue()
    written = repr(identity_of(TlsFiles(*pair.write(tmp_path))))
    assert "BEGIN CERTIFICATE" in written
    assert "PRIVATE" not in written


# ---- as the files change ----


@dataclass
class World:
    """Files of a gateway, its certificates, and what became of new ones."""

    folder: Path
    authority: Authority
    clock: FakeClock = field(default_factory=FakeClock)
    reloads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        key, certificate = self.authority.issue("first").write(self.folder)
        self.files = TlsFiles(key, certificate, self.authority.write(self.folder))
        self.certificates = Certificates(self.files, self.reloads.append, monotonic=self.clock.now)

    def later(self) -> Identity:
        """The identity in use when it is time to look."""
        self.clock.advance(LOOK_SECONDS)
        return self.certificates.current()


@pytest.fixture
def world(tmp_path: Path, authority: Authority) -> World:
    return World(tmp_path, authority)


def test_new_files_take_over_at_the_next_look(world: World) -> None:
    first = world.certificates.current()
    second = world.authority.issue("second")
    second.write(world.folder)
    assert world.certificates.current() is first
    assert world.later().chain_pem == second.certificate
    assert world.later().key_pem == second.key
    assert world.reloads == ["loaded"]


def test_files_with_the_same_content_are_no_news(world: World) -> None:
    first = world.certificates.current()
    world.files.certificate.write_bytes(world.files.certificate.read_bytes())
    assert world.later() is first
    assert world.reloads == []


def test_a_pair_that_is_half_written_for_a_moment_is_not_told(world: World) -> None:
    second = world.authority.issue("second")
    with capture_logs() as logged:
        replace(world.files.certificate, second.certificate)
        assert world.later().chain_pem != second.certificate
        replace(world.files.key, second.key)
        assert world.later().chain_pem == second.certificate
    assert world.reloads == ["loaded"]
    assert [line["log_level"] for line in logged] == ["info"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda world: replace(world.files.certificate, world.authority.issue("second").certificate),
        lambda world: world.files.key.unlink(),
        lambda world: world.files.client_ca.write_bytes(b"half a ce"),
        lambda world: expired(world.authority).write(world.folder),
        lambda world: early(world.authority).write(world.folder),
    ],
    ids=["without its key", "gone", "half a CA", "expired", "not yet valid"],
)
def test_what_is_faulty_is_told_once_and_changes_nothing(
    world: World, spoil: Callable[[World], object]
) -> None:
    first = world.certificates.current()
    spoil(world)
    with capture_logs() as logged:
        assert {id(world.later()) for _ in range(5)} == {id(first)}
    assert world.reloads == ["refused"]
    assert [(line["event"], line["log_level"]) for line in logged] == [
        ("new certificate refused, the old one stays", "error")
    ]


@pytest.mark.parametrize("where", ["open", "memfd_create"])
def test_files_that_cannot_be_opened_for_want_of_descriptors_are_no_faulty_ones(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def no_file(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    first, second = world.certificates.current(), world.authority.issue("second")
    second.write(world.folder)
    with monkeypatch.context() as patched, capture_logs() as logged:
        patched.setattr(os, where, no_file)
        assert {id(world.later()) for _ in range(5)} == {id(first)}
    assert not logged
    assert world.later().chain_pem == second.certificate
    assert world.reloads == ["loaded"]


def test_after_a_fault_the_next_good_pair_is_taken_and_the_next_fault_told(world: World) -> None:
    for _ in range(2):
        world.files.key.write_bytes(b"")
        world.later()
        world.later()
        good = world.authority.issue()
        good.write(world.folder)
        assert world.later().chain_pem == good.certificate
    assert world.reloads == ["refused", "loaded"] * 2


def test_one_that_becomes_valid_is_taken_then(tmp_path: Path, authority: Authority) -> None:
    clock, now = FakeClock(), datetime.now(UTC)
    start = clock.now()
    key, certificate = authority.issue().write(tmp_path)
    certificates = Certificates(
        TlsFiles(key, certificate), list[str]().append, monotonic=clock.now,
        now=lambda: now + timedelta(seconds=clock.now() - start),
    )  # fmt: skip
    new = authority.issue(not_before=now + timedelta(seconds=5))
    new.write(tmp_path)
    clock.advance(LOOK_SECONDS)
    assert certificates.current().chain_pem != new.certificate
    clock.advance(10)
    assert certificates.current().chain_pem == new.certificate


def test_when_the_one_in_use_expires_follows_too(world: World) -> None:
    until = datetime(2099, 1, 1, tzinfo=UTC)
    world.authority.issue(not_after=until).write(world.folder)
    world.clock.advance(LOOK_SECONDS)
    assert world.certificates.expiry_timestamp() == until.timestamp()


def expired(authority: Authority) -> Pair:
    return authority.issue(not_before=datetime.now(UTC) - timedelta(hours=2), valid_for=timedelta(hours=1))


def early(authority: Authority) -> Pair:
    return authority.issue(not_before=datetime.now(UTC) + timedelta(days=1))
