"""Keys to attest archives with: made, read and listed.

Ed25519, in PEM: NAME.key holds the private half (PKCS8), NAME.pub the public one (SubjectPublicKeyInfo), as
`openssl genpkey` and `openssl pkey -pubout` write them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from seqserve_models.errors import FileExists, SettingInvalid, SigningKeyUnusable, StoreUnwritable
from seqserve_models.ownership import check_folders_of, check_private, check_unwritable
from seqserve_models.regular_file import open_regular

PRIVATE, PUBLIC = ".key", ".pub"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MAX_KEY_BYTES = 16384
KEY_ID_CHARACTERS = 32
PUBLIC_HALF = b"-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True, eq=False)
class SigningKey:
    """The private half of a key, which no text shows. key_id: of its public half."""

    key_id: str
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def of(cls, private: Ed25519PrivateKey) -> SigningKey:
        """A key that is in memory already."""
        return cls(key_id(private.public_key()), private)

    def sign(self, content: bytes) -> bytes:
        """64 bytes, the same for the same content."""
        return self._private.sign(content)


@dataclass(frozen=True)
class NewKey:
    """A key that was made, and where its halves lie."""

    key_id: str
    private: Path
    public: Path


@dataclass(frozen=True)
class ListedKey:
    """What a folder holds of a key. key_id: of the public half, else of the private one, else "".

    fits: whether the private half can be used and belongs to no other public one; None where it is not there.
    fault: what is wrong, or "".
    """

    name: str
    key_id: str
    fits: bool | None
    fault: str = ""


def key_id(public: Ed25519PublicKey) -> str:
    """What a key is called in an attestation: 32 digits of the SHA-256 of its DER, in hex."""
    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()[:KEY_ID_CHARACTERS]


def make_key(name: str, folder: Path) -> NewKey:
    """Write NAME.key, which its owner alone may read, and NAME.pub; never over files that are there.

    The folder is made, for its owner alone, where it is missing.
    Raises SettingInvalid, FileExists, SigningKeyUnusable, StoreUnwritable.
    """
    if NAME_PATTERN.fullmatch(name) is None:
        raise SettingInvalid(f"name {name!r}", hint="letters, digits and _.-, such as release-2")
    private, key = Ed25519PrivateKey.generate(), folder / f"{name}{PRIVATE}"
    public, half = folder / f"{name}{PUBLIC}", private.public_key()
    try:
        _make_folder(folder)
        with ExitStack() as unless_both:
            _write_new(key, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
            unless_both.callback(key.unlink)
            _write_new(public, half.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
            unless_both.pop_all()
    except FileExistsError as error:
        raise FileExists(f"{error.filename} is there already", hint="choose another name") from error
    except OSError as error:
        raise StoreUnwritable(f"{key} cannot be written: {error.strerror or error}") from error
    return NewKey(key_id(half), key, public)


def read_signing_key(path: Path) -> SigningKey:
    """The private key of a file.

    Raises SigningKeyUnusable, also where others than root and ourselves may read it, or write its folder.
    """
    content = _read(path, _check_private_half)
    with _decoding(path, "private"):
        key = load_pem_private_key(content, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyUnusable(f"{path} holds no Ed25519 key", hint="`seqserve keys new NAME` makes one")
    return SigningKey.of(key)


def list_keys(folder: Path) -> list[ListedKey]:
    """All keys of a folder, by name. Raises SigningKeyUnusable where there is no folder to read."""
    try:
        files = sorted(path.name for path in folder.iterdir() if path.suffix in (PRIVATE, PUBLIC))
    except OSError as error:
        raise SigningKeyUnusable(
            f"{folder} cannot be read: {error.strerror or error}", hint="--folder names the folder of keys"
        ) from error
    names = sorted({Path(name).stem for name in files if not name.startswith(".")})
    return [_listed(folder, name, frozenset(files)) for name in names]


def _listed(folder: Path, name: str, files: frozenset[str]) -> ListedKey:
    faults: list[str] = []
    private_file, public_file = folder / f"{name}{PRIVATE}", folder / f"{name}{PUBLIC}"
    if public_file.name in files:
        public = _id_or_fault(lambda: key_id(_read_public(public_file)), faults)
    else:
        public = ""
        faults.append(
            f"{public_file} is missing "
            f"(openssl pkey -in {quote(str(private_file))} -pubout -out {quote(str(public_file))})"
        )
    if private_file.name not in files:
        return ListedKey(name, public, None, "; ".join(faults))
    private = _id_or_fault(lambda: read_signing_key(private_file).key_id, faults)
    if public and private and public != private:
        faults.append(f"{private_file} is the private half of another key, {private}")
    fits = bool(private) and public in (private, "")
    return ListedKey(name, public or private, fits, "; ".join(faults))


def _id_or_fault(read: Callable[[], str], faults: list[str]) -> str:
    try:
        return read()
    except SigningKeyUnusable as error:
        faults.append(f"{error} ({error.hint})" if error.hint else str(error))
        return ""


def _read_public(path: Path) -> Ed25519PublicKey:
    content = _read(path, _check_public_half)
    with _decoding(path, "public"):
        key = load_pem_public_key(content)
    if not isinstance(key, Ed25519PublicKey):
        raise SigningKeyUnusable(f"{path} holds no Ed25519 key")
    return key


def _read(path: Path, check: Callable[[Path, os.stat_result, bytes], None]) -> bytes:
    """The content of a file that a check lets pass. Links are followed: secrets are mounted so."""
    try:
        with open_regular(path, follows_links=True) as file:
            found, content = os.fstat(file.fileno()), file.read(MAX_KEY_BYTES + 1)
        check(path, found, content)
    except OSError as error:
        raise SigningKeyUnusable(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_KEY_BYTES:
        raise SigningKeyUnusable(f"{path} is longer than any key")
    return content


def _check_private_half(path: Path, found: os.stat_result, content: bytes) -> None:
    if content.startswith(PUBLIC_HALF):  # which may be as open as it is
        other = quote(str(path.with_suffix(PRIVATE)))
        raise SigningKeyUnusable(
            f"{path} is the public half of a key", hint=f"the private one attests: --signing-key {other}"
        )
    check_private(path, found)
    check_folders_of(path)


def _check_public_half(path: Path, found: os.stat_result, _: bytes) -> None:
    check_unwritable(path, found)


@contextmanager
def _decoding(path: Path, half: str) -> Iterator[None]:
    """The library's own texts are left out: they may speak of what the file holds."""
    try:
        yield
    except TypeError as error:
        raise SigningKeyUnusable(f"{path} needs a passphrase", hint="keys are read without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningKeyUnusable(f"{path} holds no {half} key in PEM") from error


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_unwritable(folder, folder.stat())


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """The whole content, on the disk, or no file. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as target:
        try:
            target.write(content)
            target.flush()
            os.fsync(descriptor)
        except BaseException:
            path.unlink()
            raise
