"""A model archive, `.mar`: read as every reader of zips would read it, or ArchiveInvalid."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.target import Cursor, Target, check_words, scratch
from fuzz.targets.signature import check_bounds
from seqserve.archive import read_archive
from seqserve.archive_members import read_laid_out, read_one
from seqserve.errors import ArchiveInvalid
from seqserve.trust import UNCHECKED
from support.archives import make_archive, sums_of, write_sidecar
from support.zips import Part, streamed, zipped

AS_A_ZIP, AS_A_FILE, OF_MEMBERS = range(3)
MODES = (AS_A_ZIP, AS_A_FILE, OF_MEMBERS)
METHODS = (0, 8)


def check(data: bytes) -> None:
    """Read a zip, or a file, or a sound archive with one member of any content."""
    cursor = Cursor(data)
    mode = cursor.choice(MODES)
    if mode == AS_A_ZIP:
        _check_zip(cursor.rest())
    else:
        _check_file(cursor.rest() if mode == AS_A_FILE else _of_members(cursor))


def _check_zip(content: bytes) -> None:
    try:
        members = read_laid_out(content, "the archive")
    except ArchiveInvalid as refused:
        assert str(refused)
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == members
    assert streamed(content) == members
    for name, expected in members.items():
        assert read_one(content, name, "the archive") == expected


def _check_file(content: bytes) -> None:
    path = scratch() / "tiny-1.mar"
    path.write_bytes(content)
    write_sidecar(path)
    try:
        archive = read_archive(path, UNCHECKED)
    except ArchiveInvalid as refused:
        check_words(refused)
        return
    assert (archive.name, archive.version) == ("tiny", "1")
    check_bounds(archive.signature)
    assert archive.golden_inputs.shape[1:] == archive.signature.input.example_shape
    assert archive.golden_outputs.shape[1:] == archive.signature.output.example_shape
    assert len(archive.golden_inputs) == len(archive.golden_outputs) >= 1
    assert archive.content == content


def _of_members(cursor: Cursor) -> bytes:
    """A zip whose sums are right, with one member that holds what came."""
    members = dict(_members())
    changed, method, is_kept = (
        cursor.choice([*members, "more.txt"]),
        cursor.choice(METHODS),
        cursor.number() % 8 != 7,
    )
    members[changed] = cursor.rest()
    if not is_kept:
        del members[changed]
    ordered = sorted(members.items())
    if changed != "SHA256SUMS":
        ordered = [item for item in ordered if item[0] != "SHA256SUMS"]
        ordered.append(("SHA256SUMS", sums_of(ordered)))
    return zipped([Part(name.encode(), content, method) for name, content in ordered])


@cache
def _whole() -> bytes:
    with TemporaryDirectory() as folder:
        return make_archive(Path(folder)).read_bytes()


@cache
def _members() -> dict[str, bytes]:
    return read_laid_out(_whole(), "the archive")


def _seeds_of_members() -> Iterator[bytes]:
    for index, content in enumerate(_members().values()):
        yield bytes([OF_MEMBERS, index, 1, 0]) + content


def seeds() -> Sequence[bytes]:
    """A sound archive, as each of the three."""
    small = zipped([Part(b"a.txt", b"aaaa"), Part(b"b/c.pt", b"stored", method=0)])
    return [
        bytes([AS_A_ZIP]) + small,
        bytes([AS_A_ZIP]) + _whole(),
        bytes([AS_A_FILE]) + _whole(),
        *_seeds_of_members(),
    ]


TARGET = Target(
    "archives",
    check,
    seeds,
    (
        b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"MAR-INF/MANIFEST.json",
        b"signature.json", b"handler.py", b"SHA256SUMS", b"golden.npz", b"tiny.pt", b'"modelName"', b'"model"',
        b"../", b"\xff\xff\xff\xff",
    ),
    few=300,
)  # fmt: skip
