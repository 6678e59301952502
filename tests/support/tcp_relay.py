"""A TCP relay that can be slow, narrow, silent or rude: a network as a test wants it, without the kernel's help.

Loss on a network is a stall to who speaks TCP, which sends again: so `stall` stands for it, and `cut_off` for a
peer that is gone and says so. For one that says nothing, see support.namespaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CHUNK_BYTES = 16384
RESET = struct.pack("ii", 1, 0)
"""Of SO_LINGER: what is closed so says so with RST, at once."""


@dataclass
class Relay:
    """Between a port here and a server. Settings count from the next bytes on.

    delay_seconds: each way, on top of what there is. bytes_per_second: each way, of each connection; None: all.
    """

    host: str = ""
    port: int = 0
    delay_seconds: float = 0.0
    bytes_per_second: float | None = None
    passing: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.passing.set()

    @property
    def address(self) -> str:
        """HOST:PORT of its own."""
        return f"{self.host}:{self.port}"

    def stall(self) -> None:
        """Pass nothing on until `resume`; nothing is lost, and connections are taken."""
        self.passing.clear()

    def resume(self) -> None:
        """Pass on what has come, and what comes."""
        self.passing.set()

    def cut_off(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def serve(
        self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter, to: str
    ) -> None:
        """One connection, to the end of both ways. to: HOST:PORT."""
        host, _, port = to.rpartition(":")
        writers = {near_writer}
        self._writers.add(near_writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            writers.add(far_writer)
            self._writers.add(far_writer)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._way(near_reader, far_writer))
                ways.create_task(self._way(far_reader, near_writer))
        except* OSError:
            pass
        finally:
            self._writers -= writers
            for writer in writers:
                writer.transport.abort()

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Chunks are under way together, each as long as the delay was when it came; none overtakes another."""
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                due, chunk = await on_the_way.get()
                await asyncio.sleep(due - loop.time())
                await self.passing.wait()
                if not chunk:
                    writer.write_eof()
                    return
                writer.write(chunk)
                await writer.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(arrive())
            while chunk := await reader.read(CHUNK_BYTES):
                on_the_way.put_nowait((loop.time() + self.delay_seconds, chunk))
                if self.bytes_per_second:
                    await asyncio.sleep(len(chunk) / self.bytes_per_second)
            on_the_way.put_nowait((loop.time() + self.delay_seconds, b""))


@asynccontextmanager
async def relay_to(address: str, host: str = "127.0.0.1") -> AsyncIterator[Relay]:
    """A relay on a free port of `host`, to HOST:PORT, for the length of the block."""
    relay = Relay(host)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay.serve(reader, writer, address)

    server = await asyncio.start_server(serve, host, 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        relay.cut_off()
        relay.resume()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 5)
