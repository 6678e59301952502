"""How the bytes of an archive must lie, so that every reader of zips finds the same members in it.

TorchServe unzips from the front, by the local headers, and Python by the directory at the end: a zip made
for it shows each of them something else. What is accepted is what `seqserve build` writes and no more:

    local header, name, data            of each member, from byte 0
    directory: an entry for each        in the same order
    end record                          22 bytes, the last of the file

Source of the fields: PKWARE's APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12, 4.3.16 and 4.4.
"""

from __future__ import annotations

import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from seqserve.errors import ArchiveInvalid

MAX_MEMBERS = 256
MAX_NAME_BYTES = 255
MAX_UNCOMPRESSED_BYTES = 2**30
MAX_COMPRESSION_RATIO = 200
# Below this size a member cannot hurt, and a few repetitive lines do compress by more than 200.
RATIO_FREE_BYTES = 2**20
STORED, DEFLATED = 0, 8

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
ENTRY_MAGIC = b"PK\x01\x02"
_LOCAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x05\x06"
_VERSION_NEEDED = 20
_MADE_BY = 3 << 8 | 20  # Unix, so the upper half of the external attributes is a file's mode
_ATTRIBUTES = (stat.S_IFREG | 0o644) << 16
_TIME, _DATE = 0, 33  # 1980-01-01, the first day that a zip knows
# ASCII alone: one name in two encodings, or in two forms of Unicode, would be two files or one.
_NAME = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_SHOWN_BYTES = 64


@dataclass(frozen=True, slots=True)
class Member:
    """Where the zip holds a member.

    method: STORED or DEFLATED. crc: CRC-32 of what it inflates to, `size` bytes. data: its place in the
    zip, as it lies there.
    """

    name: str
    method: int
    crc: int
    size: int
    data: slice


class _Entry(NamedTuple):
    """An entry of the directory, without its name."""

    magic: bytes
    made_by: int
    needed: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    compressed: int
    size: int
    name_bytes: int
    extra_bytes: int
    comment_bytes: int
    disk: int
    internal: int
    external: int
    offset: int


class _End(NamedTuple):
    """The end record."""

    magic: bytes
    disk: int
    directory_disk: int
    entries_here: int
    entries: int
    directory_bytes: int
    directory: int
    comment_bytes: int


def check_layout(content: bytes, what: str) -> tuple[Member, ...]:
    """The members of a zip, in their order. Raises ArchiveInvalid where anything lies in another way.

    what: words for the zip in messages. Nothing is inflated. Sizes that headers claim are compared, and
    nothing is allocated by them: the time is that of the directory, which has at most MAX_MEMBERS entries.
    """
    end = _read_end(content, what)
    members: list[Member] = []
    names: set[str] = set()
    at = 0
    for entry, name in _directory(content, end, what):
        _check_name(name, names, what)
        _check_entry(entry, name)
        _check_sizes(entry, name)
        data = _check_local_header(content, at, entry, name)
        members.append(Member(name, entry.method, entry.crc, entry.size, data))
        at = data.stop
    if at != end.directory:
        raise ArchiveInvalid(f"{what}: its members end at byte {at}, its directory begins at {end.directory}")
    if sum(member.size for member in members) > MAX_UNCOMPRESSED_BYTES:
        raise ArchiveInvalid(f"{what} inflates to more than {MAX_UNCOMPRESSED_BYTES} bytes")
    return tuple(members)


def _read_end(content: bytes, what: str) -> _End:
    """The end record, which is the last of the file and describes all that lies before it."""
    start = len(content) - _END.size
    if start < 0 or content[start : start + 4] != _END_MAGIC:
        raise ArchiveInvalid(f"{what} is no readable zip: it does not end with a zip's end record")
    end = _End(*_END.unpack_from(content, start))
    if end.comment_bytes:
        raise ArchiveInvalid(f"{what} has a comment behind its end record")
    if end.disk or end.directory_disk or end.entries_here != end.entries:
        raise ArchiveInvalid(f"{what} is part of a zip on several disks")
    if not 1 <= end.entries <= MAX_MEMBERS:
        raise ArchiveInvalid(f"{what} has {end.entries} members; accepted: 1 to {MAX_MEMBERS}")
    if end.directory + end.directory_bytes != start:
        raise ArchiveInvalid(f"{what} has a directory that does not lie just before its end record")
    return end


def _directory(content: bytes, end: _End, what: str) -> Iterator[tuple[_Entry, str]]:
    """Each entry and its name; they fill the directory."""
    at, stop = end.directory, end.directory + end.directory_bytes
    for number in range(1, end.entries + 1):
        if at + _ENTRY.size > stop or content[at : at + 4] != ENTRY_MAGIC:
            raise ArchiveInvalid(f"{what} has a directory whose entry {number} is none")
        entry = _Entry(*_ENTRY.unpack_from(content, at))
        name = content[at + _ENTRY.size : at + _ENTRY.size + entry.name_bytes]
        if _NAME.fullmatch(name) is None or len(name) > MAX_NAME_BYTES:
            raise ArchiveInvalid(f"{what} has a member with an unsafe name: {_shown(name)}")
        if entry.extra_bytes or entry.comment_bytes:
            raise ArchiveInvalid(f"{what} has an entry with an extra field or a comment: {_shown(name)}")
        yield entry, name.decode("ascii")
        at += _ENTRY.size + entry.name_bytes
    if at != stop:
        raise ArchiveInvalid(f"{what} has a directory with more in it than {end.entries} entries")


def _shown(name: bytes) -> str:
    """A name that anybody may have written, for messages."""
    return repr(name[:_SHOWN_BYTES].decode("utf-8", "backslashreplace"))


def _check_name(name: str, seen: set[str], what: str) -> None:
    """No name twice, in whatever case: not every disk tells them apart."""
    if name.lower() in seen:
        raise ArchiveInvalid(f"{what} has two members named {name!r}")
    seen.add(name.lower())


def _check_entry(entry: _Entry, name: str) -> None:
    """A regular file that any reader reads in the same way; nothing is left for anybody to choose."""
    if entry.flags:
        accepted = "accepted: none, so neither encryption nor sizes behind the content"
        raise ArchiveInvalid(f"member {name}: has flags {entry.flags:#x}; {accepted}")
    if entry.method not in (STORED, DEFLATED):
        raise ArchiveInvalid(f"member {name}: compressed by a method other than deflate")
    if entry.external != _ATTRIBUTES:
        accepted = f"accepted: {_ATTRIBUTES:#x}, a regular file that its owner alone may write"
        raise ArchiveInvalid(f"member {name}: has attributes {entry.external:#x}; {accepted}")
    noted = entry.made_by, entry.needed, entry.time, entry.date
    if noted != (_MADE_BY, _VERSION_NEEDED, _TIME, _DATE) or entry.disk or entry.internal:
        raise ArchiveInvalid(f"member {name}: its entry is not as `seqserve build` writes it")


def _check_sizes(entry: _Entry, name: str) -> None:
    """What inflating may give, told by the header."""
    if entry.method == STORED and entry.size != entry.compressed:
        raise ArchiveInvalid(f"member {name}: stored in {entry.compressed} bytes, and {entry.size} long")
    if entry.size > max(RATIO_FREE_BYTES, MAX_COMPRESSION_RATIO * entry.compressed):
        raise ArchiveInvalid(f"member {name}: inflates by more than {MAX_COMPRESSION_RATIO}")


def _check_local_header(content: bytes, at: int, entry: _Entry, name: str) -> slice:
    """The place of the member's data, behind a local header at `at` that says what the entry says."""
    if entry.offset != at:
        raise ArchiveInvalid(f"member {name}: begins at byte {entry.offset}, what lies before ends at {at}")
    shared = entry[_Entry._fields.index("needed") : _Entry._fields.index("extra_bytes")]
    expected = _LOCAL_HEADER.pack(_LOCAL_MAGIC, *shared, 0) + name.encode()  # 0: no extra field
    start = at + len(expected)
    if content[at:start] != expected:
        raise ArchiveInvalid(f"member {name}: its local header differs from its entry in the directory")
    return slice(start, start + entry.compressed)
