"""Reads a model archive (`.mar`) and believes nothing in it that is not verified.

The order is: whether an attestation is there, where one is required; the file's own SHA-256 against the
sidecar beside it, who has attested that, then names and sizes of the members, then every member's SHA-256,
and only then what the members say. No member is ever written to disk, imported or unpickled here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from seqserve.archive_golden import NAME as GOLDEN
from seqserve.archive_golden import read_golden
from seqserve.archive_members import member, read_laid_out, read_one
from seqserve.errors import ArchiveInvalid, StoreMissing
from seqserve.printable import printable
from seqserve.regular_file import read_regular
from seqserve.signature import Signature
from seqserve.tensors import FloatArray
from seqserve.trust import Trust

SIDECAR_SUFFIX = ".sha256"
MAX_ARCHIVE_BYTES = 2**30
MAX_REFUSAL_CHARACTERS = 400
_MAX_SIDECAR_BYTES = 4096

_MANIFEST = "MAR-INF/MANIFEST.json"
_SIGNATURE = "signature.json"
_HANDLER = "handler.py"
_SUMS = "SHA256SUMS"
_SUM_LINE = re.compile(r"(?P<hex>[0-9a-f]{64}) [ *](?P<name>[^\n\\]+)")


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """A verified archive.

    sha256: of the whole file, hexadecimal; content: the file's bytes; torchscript: its `<name>.pt`.
    golden_inputs [k, *example] and golden_outputs [k, *output]: FP32, read-only, k ≥ 1.
    attested_by: ids of the trusted keys that have attested it; doubt: why there are none, in words, where
    that was looked at.
    """

    signature: Signature
    sha256: str
    content: bytes
    torchscript: bytes
    golden_inputs: FloatArray
    golden_outputs: FloatArray
    attested_by: tuple[str, ...] = ()
    doubt: str = ""

    @property
    def name(self) -> str:
        """The model's name, from the signature."""
        return self.signature.name

    @property
    def version(self) -> str:
        """The model's version, a decimal number, from the signature."""
        return self.signature.version


def scan_store(path: Path) -> list[Path]:
    """The archives in a model store, sorted by file name. Raises StoreMissing."""
    if not path.is_dir():
        raise StoreMissing(
            f"there is no model store at {path}",
            hint="`seqserve build` makes one; `--model-store` names another",
        )
    return sorted(found for found in path.glob("*.mar") if not found.name.startswith("."))


def read_archive(path: Path, trust: Trust) -> Archive:
    """The archive at a path, verified. Raises ArchiveInvalid that names the member or hash at fault.

    The file is read once, as a regular file, never through a link, and all that follows is done with those
    bytes; `<path>.sha256` must lie beside it. What is not trusted raises ArchiveUntrusted, and nothing of it
    has been parsed.
    """
    try:
        trust.look_first(path)
        content = _read(path, "the file", MAX_ARCHIVE_BYTES)
        sha256 = hashlib.sha256(content).hexdigest()
        _check_sidecar(path, sha256)
        verdict = trust.judge(path, sha256)
        members = read_laid_out(content, "the archive")
        _check_sums(members)
        signature = Signature.parse(member(members, _SIGNATURE))
        _check_manifest(member(members, _MANIFEST), signature)
        _check_file_name(path, signature)
        member(members, _HANDLER)
        inputs, outputs = read_golden(member(members, GOLDEN), signature)
        torchscript = member(members, f"{signature.name}.pt")
        return Archive(
            signature,
            sha256,
            content,
            torchscript,
            inputs,
            outputs,
            verdict.attested_by,
            _told(verdict.doubt),
        )
    except ArchiveInvalid as error:
        raise type(error)(_told(f"{path.name}: {error}"), hint=printable(error.hint)) from error


def _told(refusal: str) -> str:
    """Words for logs, callers and terminals: whoever made the archive may have chosen some of them."""
    if len(refusal) > MAX_REFUSAL_CHARACTERS:
        refusal = f"{refusal[: MAX_REFUSAL_CHARACTERS - 3]}..."
    return printable(refusal)


def claimed_signatures(paths: Iterable[Path], trust: Trust) -> list[Signature]:
    """What archives say that they take, otherwise unverified, to size limits by.

    Those that are not trusted, or that say nothing readable, are left out.
    """
    signatures = []
    for path in paths:
        with suppress(ArchiveInvalid):
            signatures.append(Signature.parse(_claims(path, trust)))
    return signatures


def _claims(path: Path, trust: Trust) -> bytes:
    trust.look_first(path)
    content = _read(path, "the file", MAX_ARCHIVE_BYTES)
    if trust.is_required:
        trust.judge(path, hashlib.sha256(content).hexdigest())
    return read_one(content, _SIGNATURE, "the archive")


def _read(path: Path, what: str, max_bytes: int) -> bytes:
    try:
        return read_regular(path, max_bytes)
    except OSError as error:
        raise ArchiveInvalid(f"{what} cannot be read: {error.strerror or error}") from error


def _check_sidecar(path: Path, sha256: str) -> None:
    sidecar = path.with_name(path.name + SIDECAR_SUFFIX)
    if not os.path.lexists(sidecar):
        raise ArchiveInvalid(
            f"there is no {sidecar.name} beside it",
            hint="copy it too, or, where you trust the archive: "
            f"sha256sum {quote(path.name)} > {quote(sidecar.name)}",
        )
    text = _read(sidecar, sidecar.name, _MAX_SIDECAR_BYTES).decode("utf-8", "replace")
    line = _SUM_LINE.fullmatch(text.removesuffix("\n"))
    if line is None:
        raise ArchiveInvalid(f"{sidecar.name} is not one line of sha256sum")
    if line["hex"] != sha256:
        raise ArchiveInvalid(
            f"SHA-256 is {sha256}, {sidecar.name} says {line['hex']}",
            hint="the archive changed after it was built, or was copied in part: build or copy it again",
        )


def _check_sums(members: dict[str, bytes]) -> None:
    """The members are exactly those of SHA256SUMS, and it, and each has the hash listed there."""
    listed = _listed_sums(member(members, _SUMS))
    present = members.keys() - {_SUMS}
    if missing := sorted(listed.keys() - present):
        raise ArchiveInvalid(f"member {missing[0]}: listed in {_SUMS}, not in the archive")
    if extra := sorted(present - listed.keys()):
        raise ArchiveInvalid(f"member {extra[0]}: in the archive, not listed in {_SUMS}")
    for name, expected in listed.items():
        found = hashlib.sha256(members[name]).hexdigest()
        if found != expected:
            raise ArchiveInvalid(f"member {name}: SHA-256 is {found}, {_SUMS} says {expected}")


def _listed_sums(content: bytes) -> dict[str, str]:
    listed: dict[str, str] = {}
    for number, text in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        line = _SUM_LINE.fullmatch(text)
        if line is None or line["name"] in listed:
            raise ArchiveInvalid(f"{_SUMS}: line {number} is malformed or names a member again")
        listed[line["name"]] = line["hex"]
    return listed


def _check_manifest(content: bytes, signature: Signature) -> None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArchiveInvalid(f"{_MANIFEST} is no JSON") from error
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(model, dict):
        raise ArchiveInvalid(f"{_MANIFEST}: describes no model")
    expected = {
        "modelName": signature.name,
        "modelVersion": signature.version,
        "serializedFile": f"{signature.name}.pt",
        "handler": _HANDLER,
    }
    for field, value in expected.items():
        if model.get(field) != value:
            raise ArchiveInvalid(
                f"{_MANIFEST}: {field} is {model.get(field)!r}, by {_SIGNATURE} it is {value!r}"
            )


def _check_file_name(path: Path, signature: Signature) -> None:
    expected = f"{signature.name}-{signature.version}.mar"
    if path.name != expected:
        raise ArchiveInvalid(
            f"the archive holds {signature.name} {signature.version}, so its name is {expected}"
        )
