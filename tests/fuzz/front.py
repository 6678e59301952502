"""A real gateway under hostile connections and mutated messages, while a well-behaved caller is answered."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import grpc

from fuzz.attacked import attacked, end_of, errors_logged, left_behind
from fuzz.attacks import Attack
from fuzz.neighbour import asked_again, neighbour
from fuzz.run import Say
from fuzz.sending import AT_ONCE, send_all
from support.footprint import Footprint, footprint
from support.served import Served

WARMING_SEED = 0
ENDED = "gRPC server ended by itself"


async def attack(front: str, connections: int, seed: int, say: Say, *, engine: str = "embedded") -> Attack:
    """So many hostile connections, and twice as many mutated calls; then all must be as it was before."""
    made = Attack(front)
    with tempfile.TemporaryDirectory() as folder, attacked(Path(folder), front, engine) as gateway:
        async with grpc.aio.insecure_channel(gateway.grpc) as channel:
            beside = asyncio.create_task(neighbour(channel, made))
            before = await _warmed(gateway, max(connections // 10, AT_ONCE), made, say)
            if before is not None:
                await send_all(gateway, seed, connections, made, say)
            await _dismiss(beside, made)
            if before is None or gateway.process.poll() is not None:
                made.faults += {end_of(gateway)} - {*made.faults}
                return made
            await asked_again(channel, made)
        made.faults += await left_behind(gateway, before)
        _read_log(gateway, made)
    return made


async def _warmed(gateway: Served, connections: int, made: Attack, say: Say) -> Footprint | None:
    """What it holds after some that are not counted; None where it has ended."""
    warming = Attack(made.front)
    await send_all(gateway, WARMING_SEED, connections, warming, say)
    made.faults += warming.faults
    return footprint(gateway.process.pid, 0) if gateway.process.poll() is None else None


async def _dismiss(beside: asyncio.Task[None], made: Attack) -> None:
    """The neighbour may go; that it was still asking is part of what is tried."""
    if beside.done():
        made.faults.append(f"the neighbour: {beside.exception()!r}")
    beside.cancel()
    await asyncio.wait([beside])


def _read_log(gateway: Served, made: Attack) -> None:
    """Errors of its own are faults, but for grpc.aio's servers that have ended, with calls of the neighbour in them."""
    logged = errors_logged(gateway)
    made.ended = sum(ENDED in words for words in logged)
    made.faults += [words for words in logged if ENDED not in words or made.front != "python"]
    if made.lost and not made.ended:
        made.faults.append(f"{made.lost} calls of the neighbour were lost")
