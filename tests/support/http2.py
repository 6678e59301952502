"""HTTP/2 by hand: frames that no client library would send.

Sources: RFC 9113 (frames), RFC 7541 (header blocks; here literals only, nothing indexed or compressed).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
CANCEL, ENHANCE_YOUR_CALM = 0x8, 0xB
INITIAL_WINDOW_SIZE = 0x4
FIRST_WINDOW_BYTES = 2**16 - 1
FRAME_BYTES = 2**14
"""The longest frame that every peer takes."""
_HEAD_BYTES = 9


class Frame(NamedTuple):
    """One frame as it came."""

    kind: int
    flags: int
    stream: int
    content: bytes

    @property
    def error_code(self) -> int:
        """Why, of a GOAWAY or RST_STREAM frame."""
        code: int = struct.unpack_from(">I", self.content, 4 if self.kind == GOAWAY else 0)[0]
        return code


def frame(kind: int, content: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    """One frame for the wire."""
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def header_block(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Headers as literals that nobody is to remember."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)


def call_headers(method: str, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Those of a gRPC call of a method, `/package.Service/Method`."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", method.encode()),
        (b":authority", b"gateway"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]


def reset(stream: int) -> bytes:
    """Take back a call."""
    return frame(RST_STREAM, struct.pack(">I", CANCEL), stream=stream)


def message(content: bytes, *, is_compressed: bool = False) -> bytes:
    """A gRPC message with its prefix."""
    return struct.pack(">BI", is_compressed, len(content)) + content


@dataclass
class Peer:
    """One connection. frames: all that have come so far, without what `body` is paced by."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: list[Frame] = field(default_factory=list)
    _windows: dict[int, int] = field(default_factory=dict)
    _stream_window_bytes: int = FIRST_WINDOW_BYTES

    async def send(self, content: bytes) -> bool:
        """Whether the other side still takes it."""
        try:
            self.writer.write(content)
            await self.writer.drain()
        except ConnectionError:
            return False
        return True

    async def body(self, stream: int, content: bytes, *, is_whole: bool = True) -> bool:
        """Send the body of a call, or a part of it, as fast as the windows allow; False where it is not wanted."""
        for start in range(0, len(content), FRAME_BYTES):
            piece = content[start : start + FRAME_BYTES]
            while min(self._window(0), self._window(stream)) < len(piece):
                if not await self.read() or self.is_over(stream):
                    return False
            for window in (0, stream):
                self._windows[window] = self._window(window) - len(piece)
            is_last = is_whole and start + FRAME_BYTES >= len(content)
            if not await self.send(frame(DATA, piece, stream=stream, flags=END_STREAM if is_last else 0)):
                return False
        return True

    def is_over(self, stream: int) -> bool:
        """Whether the other side has ended that call."""
        return any(
            sent.stream == stream and (sent.kind == RST_STREAM or sent.flags & END_STREAM)
            for sent in self.frames
            if sent.kind in {HEADERS, DATA, RST_STREAM}
        )

    async def read(self) -> Frame | None:
        """The next frame; None where the connection has ended. Settings are acknowledged."""
        try:
            head = await self.reader.readexactly(_HEAD_BYTES)
            came = Frame(head[3], head[4], struct.unpack_from(">I", head, 5)[0], b"")
            came = came._replace(content=await self.reader.readexactly(int.from_bytes(head[:3], "big")))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self.frames.append(came)
        await self._note(came)
        return came

    async def read_all(self) -> list[Frame]:
        """Every frame until the connection ends."""
        while await self.read():
            pass
        return self.frames

    async def until_over(self, stream: int) -> None:
        """Read until the call is over, or the connection."""
        while not self.is_over(stream) and await self.read():
            pass

    def _window(self, stream: int) -> int:
        return self._windows.get(stream, FIRST_WINDOW_BYTES if stream == 0 else self._stream_window_bytes)

    async def _note(self, came: Frame) -> None:
        if came.kind == WINDOW_UPDATE:
            more = struct.unpack(">I", came.content)[0]
            self._windows[came.stream] = self._window(came.stream) + more
        elif came.kind == SETTINGS and not came.flags & ACK:
            pairs = dict(struct.iter_unpack(">HI", came.content))
            self._stream_window_bytes = pairs.get(INITIAL_WINDOW_SIZE, self._stream_window_bytes)
            await self.send(frame(SETTINGS, flags=ACK))
        elif came.kind == PING and not came.flags & ACK:
            await self.send(frame(PING, came.content, flags=ACK))


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Peer]:
    """A connection to a port of this machine, past the preface and the settings of both sides."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = Peer(reader, writer)
    try:
        await peer.send(PREFACE + frame(SETTINGS))
        while not any(came.kind == SETTINGS and came.flags & ACK for came in peer.frames):
            assert await peer.read(), "no HTTP/2 here"
        yield peer
    finally:
        writer.transport.abort()


def _text(content: bytes) -> bytes:
    """A string behind its length: 7 bits, and what is more in groups of 7, the lowest first."""
    length, prefix = len(content), 0x7F
    if length < prefix:
        return bytes([length]) + content
    encoded, rest = bytearray([prefix]), length - prefix
    while rest >= 2**7:
        encoded.append(rest % 2**7 + 2**7)
        rest //= 2**7
    return bytes(encoded) + bytes([rest]) + content
