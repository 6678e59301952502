"""Reads a model archive (`.mar`) and believes nothing in it that is not verified.

The order is: the file's own SHA-256 against the sidecar beside it, then names and sizes of the
members, then every member's SHA-256, and only then what the members say. No member is ever written
to disk, imported or unpickled here.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from seqserve.errors import ArchiveInvalid, StoreMissing
from seqserve.signature import Signature, TensorSpec
from seqserve.tensors import FloatArray

SIDECAR_SUFFIX = ".sha256"
MAX_ARCHIVE_BYTES = 2**30
MAX_UNCOMPRESSED_BYTES = 2**30
MAX_COMPRESSION_RATIO = 200
_MAX_SIDECAR_BYTES = 4096
_MAX_CLAIM_BYTES = 2**20
# Below this size a member cannot hurt, and a few repetitive lines do compress by more than 200.
_RATIO_FREE_BYTES = 2**20

_MANIFEST = "MAR-INF/MANIFEST.json"
_SIGNATURE = "signature.json"
_GOLDEN = "golden.npz"
_HANDLER = "handler.py"
_SUMS = "SHA256SUMS"
_SUM_LINE = re.compile(r"(?P<hex>[0-9a-f]{64}) [ *](?P<name>[^\n\\]+)")
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """A verified archive.

    sha256: of the whole file, hexadecimal; content: the file's bytes; torchscript: its `<name>.pt`.
    golden_inputs [k, *example] and golden_outputs [k, *output]: FP32, read-only, k ≥ 1.
    """

    signature: Signature
    sha256: str
    content: bytes
    torchscript: bytes
    golden_inputs: FloatArray
    golden_outputs: FloatArray

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


def read_archive(path: Path) -> Archive:
    """The archive at a path, verified. Raises ArchiveInvalid that names the member or hash at fault.

    The file is read once, as a regular file, never through a link; `<path>.sha256` must lie beside it.
    """
    try:
        content = _read_file(path, "the file", MAX_ARCHIVE_BYTES)
        sha256 = hashlib.sha256(content).hexdigest()
        _check_sidecar(path, sha256)
        members = _read_members(content, "the archive")
        _check_sums(members)
        signature = Signature.parse(_member(members, _SIGNATURE))
        _check_manifest(_member(members, _MANIFEST), signature)
        _check_file_name(path, signature)
        _member(members, _HANDLER)
        inputs, outputs = _read_golden(_member(members, _GOLDEN), signature)
        return Archive(
            signature, sha256, content, _member(members, f"{signature.name}.pt"), inputs, outputs
        )  # fmt: skip
    except ArchiveInvalid as error:
        raise ArchiveInvalid(f"{path.name}: {error}", hint=error.hint) from error


def claimed_signatures(paths: Iterable[Path]) -> list[Signature]:
    """What archives say that they take, unverified, to size limits by.

    Those that say nothing readable are left out.
    """
    signatures = []
    for path in paths:
        with (
            suppress(ArchiveInvalid, KeyError, *_ZIP_FAULTS),
            zipfile.ZipFile(path) as archive,
            archive.open(_SIGNATURE) as member,
        ):
            signatures.append(Signature.parse(member.read(_MAX_CLAIM_BYTES)))
    return signatures


def _read_file(path: Path, what: str, max_bytes: int) -> bytes:
    try:
        # O_NONBLOCK: opening a pipe must not wait for its writer; regular files ignore it.
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise ArchiveInvalid(f"{what} is not a regular file")
            with os.fdopen(opened, "rb", closefd=False) as file:
                content = file.read(max_bytes + 1)
        finally:
            os.close(opened)
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise ArchiveInvalid(f"{what} cannot be read: {reason}") from error
    if len(content) > max_bytes:
        raise ArchiveInvalid(f"{what} has more than {max_bytes} bytes")
    return content


def _check_sidecar(path: Path, sha256: str) -> None:
    sidecar = path.with_name(path.name + SIDECAR_SUFFIX)
    if not os.path.lexists(sidecar):
        raise ArchiveInvalid(
            f"there is no {sidecar.name} beside it",
            hint=f"copy it too, or, where you trust the archive: sha256sum {path.name} > {sidecar.name}",
        )
    text = _read_file(sidecar, sidecar.name, _MAX_SIDECAR_BYTES).decode("utf-8", "replace")
    line = _SUM_LINE.fullmatch(text.removesuffix("\n"))
    if line is None:
        raise ArchiveInvalid(f"{sidecar.name} is not one line of sha256sum")
    if line["hex"] != sha256:
        raise ArchiveInvalid(
            f"SHA-256 is {sha256}, {sidecar.name} says {line['hex']}",
            hint="the archive changed after it was built, or was copied in part: build or copy it again",
        )


def _read_members(content: bytes, what: str) -> dict[str, bytes]:
    """Name → bytes of each member of a zip. Sizes are taken from the headers before inflating."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            _check_members(infos, what)
            return {info.filename: _read_member(archive, info) for info in infos}
    except _ZIP_FAULTS as error:
        raise ArchiveInvalid(f"{what} is no readable zip: {error}") from error


def _check_members(infos: list[zipfile.ZipInfo], what: str) -> None:
    seen: set[str] = set()
    for info in infos:
        name = info.orig_filename  # `filename` is what zipfile made of it
        parts = PurePosixPath(name).parts
        if name != info.filename or "\\" in name or name != "/".join(parts) or ".." in parts or ":" in name:
            raise ArchiveInvalid(f"{what} has a member with an unsafe name: {name!r}")
        if name in seen:
            raise ArchiveInvalid(f"{what} has two members named {name!r}")
        seen.add(name)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveInvalid(f"member {name}: compressed by a method other than deflate")
        if info.file_size > max(_RATIO_FREE_BYTES, MAX_COMPRESSION_RATIO * info.compress_size):
            raise ArchiveInvalid(f"member {name}: inflates by more than {MAX_COMPRESSION_RATIO}")
    if sum(info.file_size for info in infos) > MAX_UNCOMPRESSED_BYTES:
        raise ArchiveInvalid(f"{what} inflates to more than {MAX_UNCOMPRESSED_BYTES} bytes")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as member:
        # A bare read() would inflate all there is before it looks at the size in the header.
        content = member.read(info.file_size)
    if len(content) != info.file_size:
        raise ArchiveInvalid(
            f"member {info.filename}: {len(content)} bytes, its header says {info.file_size}"
        )
    return content


def _member(members: dict[str, bytes], name: str) -> bytes:
    if name not in members:
        raise ArchiveInvalid(f"member {name}: missing")
    return members[name]


def _check_sums(members: dict[str, bytes]) -> None:
    """The members are exactly those of SHA256SUMS, and it, and each has the hash listed there."""
    listed = _listed_sums(_member(members, _SUMS))
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


def _read_golden(content: bytes, signature: Signature) -> tuple[FloatArray, FloatArray]:
    members = _read_members(content, _GOLDEN)
    if members.keys() != {"inputs.npy", "outputs.npy"}:
        raise ArchiveInvalid(f"{_GOLDEN}: holds {sorted(members)}, not the arrays inputs and outputs")
    inputs = _read_array(members["inputs.npy"], "inputs", signature.input)
    outputs = _read_array(members["outputs.npy"], "outputs", signature.output)
    if len(inputs) != len(outputs):
        raise ArchiveInvalid(f"{_GOLDEN}: {len(inputs)} inputs and {len(outputs)} outputs")
    return inputs, outputs


def _read_array(content: bytes, name: str, spec: TensorSpec) -> FloatArray:
    """Rows [k, *example] FP32 from a .npy file, as a view. NumPy's own reader would trust the header."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # NumPy reads the header with Python's own parser, which raises what it likes
        raise ArchiveInvalid(f"{_GOLDEN}: {name} is no NumPy array") from error
    if version != (1, 0):
        raise ArchiveInvalid(f"{_GOLDEN}: {name} is not in version 1.0 of NumPy's format")
    if dtype != np.dtype("<f4") or is_fortran:
        raise ArchiveInvalid(f"{_GOLDEN}: {name} must be FP32, little-endian and row-major")
    if len(shape) < 1 or shape[0] < 1 or shape[1:] != spec.example_shape:
        raise ArchiveInvalid(f"{_GOLDEN}: {name} has shape {list(shape)}, {spec.name} has {spec.shape}")
    start = stream.tell()
    if len(content) - start != 4 * math.prod(shape):
        raise ArchiveInvalid(f"{_GOLDEN}: {name} has {len(content) - start} bytes for shape {list(shape)}")
    return np.frombuffer(content, np.float32, offset=start).reshape(shape)
