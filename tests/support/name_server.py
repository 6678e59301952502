"""A DNS server that gives one name several addresses, as a headless Service's does; they may change at any time.

It answers A questions over UDP, cut where they do not fit, and over TCP. Every name is the one it knows.
"""

from __future__ import annotations

import random
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

HEADER = struct.Struct(">HHHHHH")
A, OPT = 1, 41
ANSWER, TRUNCATED = 0x8580, 0x0200  # a response, authoritative, recursion available; cut
WITHOUT_EDNS_BYTES = 512
CLASSES_BYTES = 4
COMPRESSED_NAME = 0xC00C  # the name in the question


@dataclass
class Names:
    """What it answers. asked, cut: questions for addresses, and answers over UDP that did not fit."""

    addresses: Sequence[str]
    ttl_seconds: int = 5
    address: str = ""
    asked: int = 0
    cut: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def target(self, port: int, name: str = "gateways.test") -> str:
        """What a gRPC client is given to ask this server and no other."""
        return f"dns://{self.address}/{name}:{port}"

    def answer(self, question: bytes, *, is_udp: bool) -> bytes:
        """To one question. The order changes each time, as CoreDNS' does."""
        number, _, _, _, _, extra = HEADER.unpack_from(question)
        end = question.index(0, HEADER.size) + 1 + CLASSES_BYTES
        asked = question[HEADER.size : end]
        wants_addresses = struct.unpack_from(">H", asked, len(asked) - CLASSES_BYTES)[0] == A
        with self._lock:
            self.asked += wants_addresses
            addresses = random.sample(self.addresses, len(self.addresses)) if wants_addresses else []
        records = [
            struct.pack(">HHHIH4s", COMPRESSED_NAME, A, 1, self.ttl_seconds, 4, socket.inet_aton(address))
            for address in addresses
        ]
        whole = HEADER.pack(number, ANSWER, 1, len(records), 0, 0) + asked + b"".join(records)
        if not is_udp or len(whole) <= _udp_bytes(question, end, extra):
            return whole
        self.cut += 1
        return HEADER.pack(number, ANSWER | TRUNCATED, 1, 0, 0, 0) + asked


@contextmanager
def name_server(host: str, addresses: Sequence[str]) -> Iterator[Names]:
    """Listens on a free port of `host`, which `Names.address` tells, over UDP and TCP."""
    names = Names(addresses)

    class OverUdp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            question, answering = self.request
            answering.sendto(names.answer(question, is_udp=True), self.client_address)

    class OverTcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while len(length := self.rfile.read(2)) == 2:
                answer = names.answer(self.rfile.read(int.from_bytes(length)), is_udp=False)
                self.wfile.write(len(answer).to_bytes(2) + answer)

    with ExitStack() as stack:
        tcp = stack.enter_context(Reusing((host, 0), OverTcp))  # first: few ports have UDP, many TCP
        port = tcp.server_address[1]
        udp = stack.enter_context(socketserver.ThreadingUDPServer((host, port), OverUdp))
        for server in (udp, tcp):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.shutdown)
        names.address = f"{host}:{port}"
        yield names


class Reusing(socketserver.ThreadingTCPServer):
    """TCP whose connections end with the test."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


def _udp_bytes(question: bytes, end: int, extra: int) -> int:
    """How long an answer over UDP may be: as the question says (EDNS), or 512 bytes."""
    if not extra or struct.unpack_from(">H", question, end + 1)[0] != OPT:
        return WITHOUT_EDNS_BYTES
    return int(struct.unpack_from(">H", question, end + 3)[0])
