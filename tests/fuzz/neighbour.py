"""A well-behaved caller beside an attack, whose every answer is checked."""

from __future__ import annotations

import asyncio
import contextlib
import random

import grpc
import numpy as np

from fuzz.attacks import CALL_SECONDS, Attack
from support.oip import infer_request, inference_stub, rows_of
from support.truth import IMAGES, MODEL, is_right

PAUSE_SECONDS = 0.01


async def neighbour(channel: grpc.aio.Channel, made: Attack) -> None:
    """Asks without end; each answer is checked."""
    while True:
        try:
            await _ask(channel, made)
        except grpc.aio.AioRpcError as error:
            if error.code().name not in made.lost_with:
                raise
            made.lost += 1
        await asyncio.sleep(PAUSE_SECONDS)


async def asked_again(channel: grpc.aio.Channel, made: Attack) -> None:
    """When all is over, there is an answer."""
    async with asyncio.timeout(CALL_SECONDS):
        answers = made.answers
        while made.answers == answers:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await _ask(channel, made)


async def _ask(channel: grpc.aio.Channel, made: Attack) -> None:
    chosen = np.array(random.sample(range(len(IMAGES)), 3))
    reply = await inference_stub(channel).ModelInfer(
        infer_request(IMAGES[chosen], model=MODEL), timeout=CALL_SECONDS
    )
    made.answers += 1
    if not is_right(rows_of(reply), "1", chosen):
        made.faults.append(f"a wrong answer to images {chosen}")
