"""Members of a zip that nobody has reason to believe: names and sizes are looked at before inflating."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence

from seqserve.errors import ArchiveInvalid
from seqserve.zip_layout import (
    DEFLATED,
    ENTRY_MAGIC,
    MAX_COMPRESSION_RATIO,
    MAX_MEMBERS,
    MAX_UNCOMPRESSED_BYTES,
    RATIO_FREE_BYTES,
    Member,
    check_layout,
)

MAX_DOCUMENT_BYTES = 8 * 2**20
_LARGE = (".pt", ".npz")
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


def read_laid_out(content: bytes, what: str) -> dict[str, bytes]:
    """Name → bytes of each member of a zip that every reader reads alike. Raises ArchiveInvalid.

    what: words for the zip in messages. All but tensors are documents, of at most MAX_DOCUMENT_BYTES.
    """
    return {each.name: _inflated(content, each) for each in _documents_bounded(content, what)}


def read_one(content: bytes, name: str, what: str) -> bytes:
    """One member of such a zip; no other is inflated. Raises ArchiveInvalid."""
    found = {each.name: each for each in _documents_bounded(content, what)}
    if name not in found:
        raise ArchiveInvalid(f"member {name}: missing")
    return _inflated(content, found[name])


def _documents_bounded(content: bytes, what: str) -> tuple[Member, ...]:
    members = check_layout(content, what)
    for each in members:
        if each.size > MAX_DOCUMENT_BYTES and not each.name.endswith(_LARGE):
            raise ArchiveInvalid(f"member {each.name}: has more than {MAX_DOCUMENT_BYTES} bytes")
    return members


def _inflated(content: bytes, member: Member) -> bytes:
    """A member's bytes, by a stream that ends where the member does: another reader would read on."""
    stored = content[member.data]
    found, is_whole = stored, True
    if member.method == DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            found = inflater.decompress(stored, member.size + 1)  # one more shows what a header hides
        except zlib.error as error:
            raise ArchiveInvalid(f"member {member.name}: {error}") from error
        is_whole = inflater.eof and not inflater.unused_data
    if not is_whole or len(found) != member.size or zlib.crc32(found) != member.crc:
        raise ArchiveInvalid(f"member {member.name}: its content is not what its header says")
    return found


def read_members(content: bytes, names: Sequence[str], what: str) -> dict[str, bytes]:
    """The members of a zip that holds those names alone, and of which no other reader is asked.

    what: words for the zip in messages. Sizes are taken from the headers before inflating. Raises
    ArchiveInvalid.
    """
    # zipfile makes an object of each entry before anybody can ask how many there are.
    if content.count(ENTRY_MAGIC) > MAX_MEMBERS:
        raise ArchiveInvalid(f"{what} has more than {MAX_MEMBERS} members")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            _check_names(infos, names, what)
            _check_places(infos, len(content), what)
            _check_sizes(infos, what)
            return {info.filename: _read_member(archive, info) for info in infos}
    except _ZIP_FAULTS as error:
        raise ArchiveInvalid(f"{what} is no readable zip: {error}") from error


def _check_names(infos: list[zipfile.ZipInfo], names: Sequence[str], what: str) -> None:
    found = sorted(info.orig_filename for info in infos)  # `filename` is what zipfile made of it
    if found != sorted(names):
        raise ArchiveInvalid(f"{what}: holds {found}, not {sorted(names)}")


def _check_places(infos: list[zipfile.ZipInfo], length: int, what: str) -> None:
    """Data lies in the file, and each byte is one member's: ratios are of what there is, not of claims."""
    for info in infos:
        if info.header_offset + info.compress_size > length:
            claim = f"{info.compress_size} bytes behind byte {info.header_offset}"
            raise ArchiveInvalid(f"member {info.filename}: {claim}, in a file of {length}")
    if sum(info.compress_size for info in infos) > length:
        raise ArchiveInvalid(f"{what} has fewer bytes than its members claim")


def _check_sizes(infos: list[zipfile.ZipInfo], what: str) -> None:
    for info in infos:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveInvalid(f"member {info.filename}: compressed by a method other than deflate")
        if info.file_size > max(RATIO_FREE_BYTES, MAX_COMPRESSION_RATIO * info.compress_size):
            raise ArchiveInvalid(f"member {info.filename}: inflates by more than {MAX_COMPRESSION_RATIO}")
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


def member(members: dict[str, bytes], name: str) -> bytes:
    """The bytes of one that must be there. Raises ArchiveInvalid."""
    if name not in members:
        raise ArchiveInvalid(f"member {name}: missing")
    return members[name]
