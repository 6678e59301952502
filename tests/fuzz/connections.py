"""What hostile HTTP/2 connections send: sound frames of gRPC calls, a few of which are changed.

Sources: RFC 9113 (frames), RFC 7541 (header blocks), gRPC over HTTP/2 (messages).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from support import http2
from support.anything import INFER, Anything
from support.http2 import END_HEADERS, END_STREAM, PREFACE, call_headers, header_block, message
from support.oip import infer_request
from support.truth import IMAGES, MODEL

PRIORITY, PUSH_PROMISE = 2, 5
STREAMS = (0, 1, 2, 3, 5, 2**31 - 1, 2**32 - 1)
LENGTHS = (0, 1, 4, 5, 8, 9, 2**14, 2**14 + 1, 2**16, 2**24 - 1)
NUMBERS = (0, 1, 2**14, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
MOST_CHANGES, MOST_CALLS, MOST_PIECES = 5, 3, 3
MANY = 40
"""Times that a frame is sent again: far below what counts as a flood, which tests/integration has."""
SOUND = infer_request(IMAGES[:2], model=MODEL).SerializeToString()


@dataclass(frozen=True)
class Sent:
    """One frame. claimed_bytes: what its head says of its length, where that is a lie."""

    kind: int
    content: bytes = b""
    stream: int = 0
    flags: int = 0
    claimed_bytes: int | None = None

    def wire(self) -> bytes:
        """Its bytes."""
        length = len(self.content) if self.claimed_bytes is None else self.claimed_bytes
        head = struct.pack(">I", length)[1:] + struct.pack(">BBI", self.kind & 255, self.flags, self.stream)
        return head + self.content


class Connections:
    """What a seed makes of them, the same each time."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._anything = Anything(seed, 0.5)
        self._changes: Sequence[Callable[[list[Sent]], None]] = (
            self._left_out, self._again, self._moved, self._of_another_kind, self._flagged, self._elsewhere,
            self._lied, self._damaged, self._noise, self._settings, self._window, self._reset, self._continued,
            self._blocks, self._ping,
        )  # fmt: skip

    def next(self) -> tuple[bytes, int]:
        """All that the next one sends, and how many frames that is."""
        frames = self._sound()
        for _ in range(self._random.randrange(MOST_CHANGES + 1)):
            self._random.choice(self._changes)(frames)
        wire = bytearray(PREFACE + b"".join(frame.wire() for frame in frames))
        if self._random.random() < 0.1:
            wire[self._random.randrange(len(PREFACE))] ^= 1 << self._random.randrange(8)
        if self._random.random() < 0.3:
            del wire[self._random.randrange(len(wire)) :]
        return bytes(wire), len(frames)

    def _sound(self) -> list[Sent]:
        frames = [Sent(http2.SETTINGS)]
        for number in range(self._random.randint(1, MOST_CALLS)):
            frames += self._call(1 + 2 * number)
        return frames

    def _call(self, stream: int) -> list[Sent]:
        asked = self._anything.unary()
        is_sound = self._random.random() < 0.4
        path, body = (INFER, SOUND) if is_sound else (asked.path, asked.body)
        block = header_block(call_headers(path))
        head = Sent(http2.HEADERS, block, stream, END_HEADERS)
        wire = message(body)
        cuts = sorted(
            self._random.randrange(len(wire) + 1) for _ in range(self._random.randrange(MOST_PIECES))
        )
        pieces = [wire[first:last] for first, last in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
        data = [Sent(http2.DATA, piece, stream) for piece in pieces]
        return [head, *data[:-1], replace(data[-1], flags=END_STREAM)]

    def _at(self, frames: list[Sent]) -> int:
        return self._random.randrange(len(frames))

    def _insert(self, frames: list[Sent], *new: Sent) -> None:
        at = self._random.randint(1, len(frames)) if frames else 0
        frames[at:at] = new

    def _change(self, frames: list[Sent], change: Callable[[Sent], Sent]) -> None:
        if frames:
            at = self._at(frames)
            frames[at] = change(frames[at])

    def _left_out(self, frames: list[Sent]) -> None:
        if frames:
            del frames[self._at(frames)]

    def _again(self, frames: list[Sent]) -> None:
        if frames:
            self._insert(frames, *[self._random.choice(frames)] * self._random.randint(1, MANY))

    def _moved(self, frames: list[Sent]) -> None:
        if frames:
            self._insert(frames, frames.pop(self._at(frames)))

    def _of_another_kind(self, frames: list[Sent]) -> None:
        self._change(frames, lambda sent: replace(sent, kind=self._random.randrange(16)))

    def _flagged(self, frames: list[Sent]) -> None:
        self._change(frames, lambda sent: replace(sent, flags=self._random.randrange(256)))

    def _elsewhere(self, frames: list[Sent]) -> None:
        self._change(frames, lambda sent: replace(sent, stream=self._random.choice(STREAMS)))

    def _lied(self, frames: list[Sent]) -> None:
        self._change(frames, lambda sent: replace(sent, claimed_bytes=self._random.choice(LENGTHS)))

    def _damaged(self, frames: list[Sent]) -> None:
        def change(sent: Sent) -> Sent:
            content = bytearray(sent.content)
            for _ in range(self._random.randint(1, 4) if content else 0):
                content[self._random.randrange(len(content))] = self._random.randrange(256)
            return replace(sent, content=bytes(content))

        self._change(frames, change)

    def _noise(self, frames: list[Sent]) -> None:
        content = self._random.randbytes(self._random.randrange(64))
        kind, flags = self._random.randrange(12), self._random.randrange(256)
        self._insert(frames, Sent(kind, content, self._random.choice(STREAMS), flags))

    def _settings(self, frames: list[Sent]) -> None:
        pairs = [
            struct.pack(">HI", self._random.randrange(10), self._random.choice(NUMBERS)) for _ in range(3)
        ]
        self._insert(frames, Sent(http2.SETTINGS, b"".join(pairs)))

    def _window(self, frames: list[Sent]) -> None:
        more = struct.pack(">I", self._random.choice(NUMBERS))
        self._insert(frames, *[Sent(http2.WINDOW_UPDATE, more, self._random.choice(STREAMS))] * 2)

    def _reset(self, frames: list[Sent]) -> None:
        code = struct.pack(">I", self._random.choice(NUMBERS))
        self._insert(frames, Sent(http2.RST_STREAM, code, self._random.choice(STREAMS)))

    def _continued(self, frames: list[Sent]) -> None:
        """A header block that never ends, or that something else interrupts."""
        stream = self._random.choice(STREAMS)
        begun = Sent(http2.HEADERS, self._random.choice(HUFFMAN_AND_TABLES), stream, 0)
        more = Sent(http2.CONTINUATION, self._random.randbytes(self._random.randrange(32)), stream)
        self._insert(frames, begun, *[more] * self._random.randrange(MANY))

    def _blocks(self, frames: list[Sent]) -> None:
        """A header block that is compressed in a way nobody would."""
        block = self._random.choice(HUFFMAN_AND_TABLES) + self._random.randbytes(self._random.randrange(16))
        self._insert(frames, Sent(http2.HEADERS, block, 1 + 2 * self._random.randrange(6), END_HEADERS))

    def _ping(self, frames: list[Sent]) -> None:
        content = bytes(self._random.choice((0, 7, 8, 9)))
        kind = self._random.choice((http2.PING, http2.GOAWAY, PRIORITY, PUSH_PROMISE))
        self._insert(frames, Sent(kind, content, self._random.choice(STREAMS)))


HUFFMAN_AND_TABLES = (
    b"\x82\x86\x84\x41",            # indexed fields, then a literal that is cut off
    b"\xff\xff\xff\xff\xff\x7f",    # an index of 35 bits
    b"\xbe\xbf\xc0",                # of a dynamic table that is empty
    b"\x3f\xe1\xff\x03\x20\x3f\xe1\xff\x03",  # sizes of the table, up and down
    b"\x40\x8a" + b"\xff" * 10,     # Huffman's end of string within a name
    b"\x00\x85\xff\xff\xff\xff\xff\x00",
    b"\x40\x7f\xff\xff\xff\xff\x0f",  # a name of 4 GiB
    b"\x04\x00",                    # a path of nothing
)  # fmt: skip
