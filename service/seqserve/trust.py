"""Which archives are trusted: those that a trusted key has attested, or all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Literal

from seqserve.attestation import (
    MAX_ENVELOPE_BYTES,
    SUFFIX,
    Subject,
    and_others,
    attesting_keys,
    parse_envelope,
)
from seqserve.errors import ArchiveUntrusted, SettingsInvalid
from seqserve.ownership import first_opening
from seqserve.regular_file import read_regular
from seqserve.shortage import shortage_of
from seqserve.trusted_keys import Stamp, read_trusted_keys, stamp_of_keys

NAMED_KEYS, SHORT_ID = 3, 8
"""Of the trusted keys, in what helps: their number, and the digits of each id."""

Policy = Literal["require", "warn", "off"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """attested_by: ids of trusted keys. doubt: why there are none though somebody has looked, else ""."""

    attested_by: tuple[str, ...] = ()
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Trust:
    """What is asked of an archive before anything of it is parsed.

    policy: `require` refuses one without a trusted attestation, `warn` takes it with a doubt, `off` does not
    look. keys: file or folder of trusted keys, read anew each time.
    """

    policy: Policy
    keys: Path

    @property
    def is_required(self) -> bool:
        """Whether nothing is taken that nobody trusted has attested."""
        return self.policy == "require"

    def look_first(self, path: Path) -> None:
        """Refuse an archive that nobody can have attested, before it is read and hashed: that takes long.

        Raises ArchiveUntrusted where an attestation is required and what lies beside it is none.
        """
        if self.is_required:
            with self._helping():
                parse_envelope(_read_envelope(path))

    def judge(self, path: Path, sha256: str) -> Verdict:
        """Whether the archive with that hash (hex) is attested under its file's name.

        Raises ArchiveUntrusted where that is required and is not so.
        """
        if self.policy == "off":
            return Verdict()
        try:
            with self._helping():
                return Verdict(self._attested_by(path, sha256))
        except ArchiveUntrusted as error:
            if self.is_required or shortage_of(error):  # which says nothing of the archive
                raise
            return Verdict(doubt=str(error))

    def check_store(self, store: Path) -> None:
        """What the policy asks of the trusted keys and of a store: nobody else writes them.

        Raises SettingsInvalid with the command that helps.
        """
        if not self.is_required:
            return
        read_trusted_keys(self.keys)
        if opening := first_opening(store):
            raise SettingsInvalid(
                f"model_store: {opening.folder} {opening.fault}; attestation {self.policy} does not allow it",
                hint=opening.hint,
            )

    def stamp(self) -> Stamp:
        """Changes whenever the trusted keys do."""
        return () if self.policy == "off" else stamp_of_keys(self.keys)

    @contextmanager
    def _helping(self) -> Iterator[None]:
        """A refusal that does not say what to do about it is given that."""
        try:
            yield
        except ArchiveUntrusted as error:
            error.hint = error.hint or self._what_helps()
            raise

    def _what_helps(self) -> str:
        copy = "copy the .sig that was made for this file"
        try:
            keys = sorted(read_trusted_keys(self.keys).values(), key=lambda key: key.name)
        except SettingsInvalid:  # which is a fault of its own, and told as such
            return copy
        named = ", ".join(f"{key.name} ({key.key_id[:SHORT_ID]}…)" for key in keys[:NAMED_KEYS])
        return f"{copy}, or have it attested with one of: {named}{and_others(len(keys) - NAMED_KEYS)}"

    def _attested_by(self, path: Path, sha256: str) -> tuple[str, ...]:
        envelope = _read_envelope(path)
        try:
            keys = read_trusted_keys(self.keys)
        except SettingsInvalid as error:
            raise ArchiveUntrusted(f"nobody is trusted: {error}", hint=error.hint) from error
        name, _, version = path.stem.rpartition("-")
        public = {each.key_id: each.public for each in keys.values()}
        return attesting_keys(envelope, public, Subject(name, version, sha256))


UNCHECKED = Trust("off", Path())
"""Takes every archive."""


def attestation_path(archive: Path) -> Path:
    """Where the attestation of an archive lies: beside it."""
    return archive.with_name(archive.name + SUFFIX)


def _read_envelope(archive: Path) -> bytes:
    path = attestation_path(archive)
    try:
        return read_regular(path, MAX_ENVELOPE_BYTES)
    except FileNotFoundError as error:
        raise ArchiveUntrusted(
            f"there is no {path.name} beside it",
            hint="copy it too, or, where you built the archive: "
            f"seqserve attest {quote(archive.name)} --signing-key FILE",
        ) from error
    except OSError as error:
        raise ArchiveUntrusted(f"{path.name} cannot be read: {error.strerror or error}") from error
