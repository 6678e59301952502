"""Zips with any lie in them, and the way in which a reader from the front sees a zip."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LOCAL = {
    "magic": "4s", "needed": "H", "flags": "H", "method": "H", "time": "H", "date": "H", "crc": "I",
    "compressed": "I", "size": "I", "name_bytes": "H", "extra_bytes": "H",
}  # fmt: skip
ENTRY = {
    "magic": "4s", "made_by": "H", "needed": "H", "flags": "H", "method": "H", "time": "H", "date": "H",
    "crc": "I", "compressed": "I", "size": "I", "name_bytes": "H", "extra_bytes": "H", "comment_bytes": "H",
    "disk": "H", "internal": "H", "external": "I", "offset": "I",
}  # fmt: skip
END = {
    "magic": "4s", "disk": "H", "directory_disk": "H", "entries_here": "H", "entries": "H",
    "directory_bytes": "I", "directory": "I", "comment_bytes": "H",
}  # fmt: skip
Lies = Mapping[str, int | bytes]


@dataclass(frozen=True)
class Part:
    """A member, and what is to be said of it instead of the truth.

    before: bytes in front of its local header. stored: its data, instead of the deflated content.
    local_name: instead of `name` in the local header. local_extra, extra, comment: bytes behind the names.
    local, entry: fields of the local header and of the directory's entry; both: of the two.
    """

    name: bytes
    content: bytes = b"content"
    method: int = 8
    before: bytes = b""
    stored: bytes | None = None
    local_name: bytes | None = None
    local_extra: bytes = b""
    extra: bytes = b""
    comment: bytes = b""
    local: Lies = field(default_factory=dict)
    entry: Lies = field(default_factory=dict)
    both: Lies = field(default_factory=dict)


def zipped(parts: Sequence[Part], *, gap: bytes = b"", behind: bytes = b"", end: Lies | None = None) -> bytes:
    """A zip of the parts.

    gap: bytes in front of the directory; behind: in the directory, behind its entries; end: fields of the
    end record.
    """
    body, directory = b"", b""
    for part in parts:
        body += part.before
        truth = _truth(part)
        data = _data_of(part)
        name = part.name if part.local_name is None else part.local_name
        local = truth | {"name_bytes": len(name), "extra_bytes": len(part.local_extra)}
        local |= {"magic": b"PK\x03\x04", **part.both, **part.local}
        entry = truth | {"extra_bytes": len(part.extra), "comment_bytes": len(part.comment)}
        entry |= {"magic": b"PK\x01\x02", "offset": len(body), **part.both, **part.entry}
        directory += packed(ENTRY, entry) + part.name + part.extra + part.comment
        body += packed(LOCAL, local) + name + part.local_extra + data
    directory += behind
    said: dict[str, int | bytes] = {
        "magic": b"PK\x05\x06", "entries_here": len(parts), "entries": len(parts),
        "directory_bytes": len(directory), "directory": len(body + gap),
    }  # fmt: skip
    return body + gap + directory + packed(END, {**said, **(end or {})})


def packed(fields: Mapping[str, str], values: Lies) -> bytes:
    """A record of such fields; those without a value are 0."""
    return struct.pack("<" + "".join(fields.values()), *(values.get(name, 0) for name in fields))


def deflated(content: bytes) -> bytes:
    """A raw deflate stream."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


def streamed(content: bytes) -> dict[str, bytes]:
    """The members as a reader from the front finds them, which never sees the directory."""
    found, at = {}, 0
    while content[at : at + 4] == b"PK\x03\x04":
        _, _, _, method, _, _, _, compressed, _, name_bytes, extra_bytes = struct.unpack_from(
            "<" + "".join(LOCAL.values()), content, at
        )
        name = content[at + 30 : at + 30 + name_bytes].decode()
        start = at + 30 + name_bytes + extra_bytes
        at = start + compressed
        if method:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            found[name] = inflater.decompress(content[start:])
            at = len(content) - len(inflater.unused_data)
        else:
            found[name] = content[start:at]
    return found


def _data_of(part: Part) -> bytes:
    if part.stored is not None:
        return part.stored
    return deflated(part.content) if part.method == 8 else part.content


def _truth(part: Part) -> dict[str, int | bytes]:
    return {
        "made_by": 3 << 8 | 20, "needed": 20, "method": part.method, "date": 33,
        "crc": zlib.crc32(part.content), "compressed": len(_data_of(part)), "size": len(part.content),
        "name_bytes": len(part.name), "external": 0o100644 << 16,
    }  # fmt: skip
