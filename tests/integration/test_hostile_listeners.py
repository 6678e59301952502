"""Who can reach what: the addresses that a gateway listens on, as the kernel lists them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway

LISTENING = "0A"
"""Source: the kernel's include/net/tcp_states.h."""
IPV4_BYTES = 4
EVERY_PORT = {"admin_port": 0, "health_port": 0}


def own_sockets() -> set[str]:
    """Inodes of this process's sockets."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:  # that of the listing itself
            continue
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def listeners() -> dict[int, str]:
    """Addresses of this process's listening sockets by port."""
    own = own_sockets()
    return {
        port: address for table in ("tcp", "tcp6") for address, port, inode in rows(table) if inode in own
    }


def rows(table: str) -> Iterator[tuple[str, int, str]]:
    """(address, port, inode) of every listening socket of a table."""
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTENING:
            host, port = fields[1].split(":")
            yield address_of(host), int(port, 16), fields[9]


def address_of(words: str) -> str:
    """The kernel writes each 4 bytes as a number of this machine's own byte order."""
    raw = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    address = socket.inet_ntop(socket.AF_INET if len(raw) == IPV4_BYTES else socket.AF_INET6, raw)
    return address.removeprefix("::ffff:")  # gRPC's sockets are of IPv6, whatever their address


async def addresses(folder: Path, engine: FakeEngine, **settings: object) -> dict[str, str]:
    """What a gateway with every port listens on, by the port's name; nothing else has begun to listen."""
    before = listeners()
    async with running_gateway([make_archive(folder)], engine, **EVERY_PORT, **settings) as gateway:
        begun = {port: address for port, address in listeners().items() if before.get(port) != address}
        names = {number: name for name, number in gateway.ports.items()}
    return {names[port]: address for port, address in begun.items()}


async def test_every_port_is_for_this_machine_alone(tmp_path: Path, engine: FakeEngine) -> None:
    """The peers' gRPC bound to all interfaces, CVE-2024-35199 (TorchServe); its own addresses: test_torchserve_config.py."""
    assert await addresses(tmp_path, engine) == dict.fromkeys(
        ("grpc", "http", "admin", "health"), "127.0.0.1"
    )


async def test_told_to_serve_everybody_it_still_is_administered_from_here(
    tmp_path: Path, engine: FakeEngine
) -> None:
    found = await addresses(tmp_path, engine, host="0.0.0.0")

    admin = found.pop("admin")
    assert admin == "127.0.0.1"
    assert found.keys() == {"grpc", "http", "health"}
    assert set(found.values()) <= {"0.0.0.0", "::"}
