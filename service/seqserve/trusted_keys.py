"""The public keys of those who may attest archives: a file, or a folder with one in each NAME.pub.

They are Ed25519, in PEM, as `seqserve keys new` or `openssl pkey -pubout` writes them. They are read anew
whenever they are needed: a key counts from the moment on at which it is there.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from seqserve.errors import SettingsInvalid
from seqserve.ownership import closing, first_opening, who_else_writes
from seqserve.regular_file import open_regular

# At run time it is imported where there are keys: it takes 9 MB, and most gateways have none.
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SUFFIX = ".pub"
KEY_ID_CHARACTERS = 32
MAX_KEY_BYTES = 16384
MAX_KEYS = 64
"""A signature that names no key is tried with each."""
PEM_BLOCK = b"-----BEGIN"
PRIVATE_HALF = b"PRIVATE KEY-----"

Stamp = tuple[tuple[str, int, int, int, int], ...]
"""Changes whenever a key does: path, inode, size, time and mode of each; and where others may write."""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One key. name: of its file, without .pub."""

    key_id: str
    name: str
    public: Ed25519PublicKey


def key_id(public: Ed25519PublicKey) -> str:
    """What a key is called in an attestation: 32 digits of the SHA-256 of its DER, in hex."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - see above

    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()[:KEY_ID_CHARACTERS]


def read_trusted_keys(path: Path) -> dict[str, TrustedKey]:
    """All keys, by id, of a file or folder.

    Raises SettingsInvalid, which names the file, where one cannot be used, where there is none, and where
    others than root and ourselves may write it, its folder or one above: they could make themselves trusted.
    """
    try:
        if opening := first_opening(_folder(path)):
            raise _invalid(opening.folder, f"it {opening.fault}", opening.hint)
        files = _files(path)
        _check_count(path, len(files))
        keys = [_read_key(file) for file in files]
    except OSError as error:
        raise _invalid(path, f"it cannot be read: {error.strerror or error}") from error
    return {key.key_id: key for key in keys}


def stamp_of_keys(path: Path) -> Stamp:
    """Of the keys as they lie there; nothing of what cannot be looked at. Raises nothing."""
    try:
        files = [path, *(file for file in _files(path) if file != path)]
        looked_at = [(file, file.stat()) for file in files]
        opening = first_opening(_folder(path))
    except OSError:
        return ()
    stamp = tuple(
        (file.name, about.st_ino, about.st_size, about.st_mtime_ns, about.st_mode)
        for file, about in looked_at
    )
    return stamp if opening is None else (*stamp, (opening.fault, 0, 0, 0, 0))


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.glob(f"*{SUFFIX}") if not file.name.startswith("."))


def _check_count(path: Path, keys: int) -> None:
    if not keys:
        raise _invalid(
            path, f"the folder has no NAME{SUFFIX}", "put a public key of `seqserve keys new` there"
        )
    if keys > MAX_KEYS:
        raise _invalid(path, f"the folder has {keys} keys; at most {MAX_KEYS} are taken")


def _read_key(path: Path) -> TrustedKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        with open_regular(path) as file:
            _check_closed(path, os.fstat(file.fileno()))
            content = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise _invalid(path, f"it cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_KEY_BYTES:
        raise _invalid(path, f"it cannot be read: it has more than {MAX_KEY_BYTES} bytes")
    if PRIVATE_HALF in content:
        raise _invalid(
            path,
            "it holds a private key, which does not belong on a machine that serves",
            f"take it away, and put the public half there: openssl pkey -in {quote(path.name)} -pubout",
        )
    if (blocks := content.count(PEM_BLOCK)) > 1:  # the library would take the first, and say nothing
        raise _invalid(path, f"it holds {blocks} blocks of PEM; accepted: one public key")
    try:
        public = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _invalid(path, "it holds no public key in PEM") from error
    if not isinstance(public, Ed25519PublicKey):
        raise _invalid(path, "it holds a key of another kind than Ed25519")
    return TrustedKey(key_id(public), path.name.removesuffix(SUFFIX), public)


def _check_closed(path: Path, found: os.stat_result) -> None:
    if fault := who_else_writes(found):
        raise _invalid(path, f"it {fault}", closing(path, found))


def _invalid(path: Path, reason: str, hint: str = "") -> SettingsInvalid:
    return SettingsInvalid(f"trusted_keys: {path}: {reason}", hint=hint)
