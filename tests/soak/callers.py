"""Callers of every kind, good ones, hasty ones and bad ones; each checks what it gets."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import grpc
import httpx
import numpy as np
import numpy.typing as npt

from seqserve.client import AsyncClient
from seqserve.pb import inference_pb2 as pb
from soak.tally import OK, Tally
from support.oip import infer_request, inference_stub, rows_of
from support.peers import ABORT
from support.truth import IMAGES, MODEL, PIXELS, is_right, png

HASTY = frozenset(
    {"OK", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED"}
)  # the last: the queue would miss it
NOTHING: frozenset[str] = frozenset()
REFUSED = frozenset({"INVALID_ARGUMENT", "NOT_FOUND"})
CALL_SECONDS = 60.0
STREAMED = 20
LARGEST = 7
MOST_WORDS = 300


@dataclass
class World:
    """What the callers share."""

    address: str
    channel: grpc.aio.Channel
    client: AsyncClient
    web: httpx.AsyncClient
    tally: Tally
    chance: random.Random = field(default_factory=lambda: random.Random(5))  # noqa: S311 - no secret

    def choice(self, most: int = LARGEST) -> npt.NDArray[np.int64]:
        """Some of the images, by their numbers."""
        return np.array(self.chance.sample(range(len(IMAGES)), self.chance.randint(1, most)))

    def check(
        self, kind: str, answers: npt.NDArray[np.float32], version: str, chosen: npt.NDArray[np.int64]
    ) -> None:
        """An answer that came."""
        self.tally.note(kind, "OK", OK)
        self.tally.versions.add(version)
        if not is_right(answers, version, chosen):
            self.tally.note_wrong(kind, version)


Round = Callable[[World], Awaitable[None]]


async def unary(world: World) -> None:
    """FP32 rows, as the fast path takes them."""
    await _infer(world, world.channel, "unary", OK)


async def newcomer(world: World) -> None:
    """The same over a connection of its own."""
    async with grpc.aio.insecure_channel(world.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        await _infer(world, channel, "newcomer", OK)


async def hurried(world: World) -> None:
    """A deadline that is often missed."""
    await _infer(world, world.channel, "hurried", HASTY, timeout_seconds=world.chance.uniform(0.0002, 0.01))


async def fickle(world: World) -> None:
    """Takes the call back after a moment."""
    chosen = world.choice()
    call = inference_stub(world.channel).ModelInfer(infer_request(IMAGES[chosen], model=MODEL))
    await asyncio.sleep(world.chance.uniform(0, 0.004))
    if call.cancel():
        world.tally.note("fickle", "CANCELLED", HASTY)
    else:
        world.check("fickle", rows_of(await call), (await call).model_version, chosen)


async def streamer(world: World) -> None:
    """Twenty requests over one call."""
    choices = [world.choice() for _ in range(STREAMED)]

    async def requests() -> AsyncIterator[pb.ModelInferRequest]:
        for at, chosen in enumerate(choices):
            yield infer_request(IMAGES[chosen], model=MODEL, id=str(at))

    left = dict(enumerate(choices))
    try:
        async for reply in inference_stub(world.channel).ModelStreamInfer(requests(), timeout=CALL_SECONDS):
            _check_reply(world, "stream", reply, left)
    except grpc.aio.AioRpcError as error:
        world.tally.note("stream", error.code().name, OK, error.details() or "")
    else:
        if left:
            world.tally.note("stream", "INCOMPLETE", OK, f"no answer to {sorted(left)} of {STREAMED}")


async def deserter(world: World) -> None:
    """Leaves a stream in the middle, with the answers that have come."""

    async def requests() -> AsyncIterator[pb.ModelInferRequest]:
        for at in range(STREAMED):
            yield infer_request(IMAGES[at : at + 1], model=MODEL, id=str(at))

    left = {at: np.array([at]) for at in range(STREAMED)}
    call = inference_stub(world.channel).ModelStreamInfer(requests(), timeout=CALL_SECONDS)
    for _ in range(world.chance.randint(1, 3)):
        reply = await call.read()
        if not isinstance(reply, pb.ModelStreamInferResponse):  # the end of it
            world.tally.note("deserter", "INCOMPLETE", OK, f"no answer to {sorted(left)}")
            return
        _check_reply(world, "deserter", reply, left)
    call.cancel()
    world.tally.note("deserter", "CANCELLED", HASTY)


def _check_reply(
    world: World, kind: str, reply: pb.ModelStreamInferResponse, left: dict[int, npt.NDArray[np.int64]]
) -> None:
    """One reply on a stream. left: what was asked and has no answer yet, by its number."""
    answer = reply.infer_response
    chosen = left.pop(int(answer.id), None) if answer.id.isdecimal() else None
    if reply.error_message:
        world.tally.note(kind, reply.error_message, OK)
    elif chosen is None:
        world.tally.note(kind, "UNASKED", OK, f"an answer to {answer.id!r}, which waits for none")
    else:
        world.check(kind, rows_of(answer), answer.model_version, chosen)


async def painter(world: World) -> None:
    """PNG files and pixels, by our own API."""
    chosen = world.choice(3)
    sent = [png(int(index)) for index in chosen] if world.chance.random() < 0.5 else PIXELS[chosen]
    reply = await world.client.predict(sent, model=MODEL, timeout_seconds=CALL_SECONDS)
    answers = np.stack([answer.values for answer in reply.answers])
    world.check("painter", answers, reply.version, chosen)


async def browser(world: World) -> None:
    """JSON over HTTP."""
    chosen = world.choice(3)
    tensor = {"name": "image", "datatype": "FP32", "shape": [len(chosen), 784]}
    body = {"inputs": [tensor | {"data": IMAGES[chosen].ravel().tolist()}]}
    reply = await world.web.post(f"/v2/models/{MODEL}/infer", json=body)
    if reply.status_code != httpx.codes.OK:
        world.tally.note("browser", str(reply.status_code), OK, reply.text)
        return
    answer = reply.json()
    rows = np.array(answer["outputs"][0]["data"], np.float32).reshape(len(chosen), -1)
    world.check("browser", rows, answer["model_version"], chosen)


async def wrongdoer(world: World) -> None:
    """What no model takes."""
    bad = [
        infer_request(np.full((1, 784), np.nan), model=MODEL),
        infer_request(np.full((2, 28, 28), 3.7), model=MODEL),
        infer_request(np.zeros((2, 14, 56)), model=MODEL),
        infer_request(np.zeros((1, 784)), model="nobody"),
        infer_request(np.zeros((1, 784)), model=MODEL, version="987654321"),
    ]
    await _infer(world, world.channel, "wrongdoer", REFUSED, request=world.chance.choice(bad))


async def vandal(world: World) -> None:
    """Garbage, half a greeting, silence and a reset, over a socket of its own."""
    host, _, port = world.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        world.chance.choice(
            [world.chance.randbytes(300), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HT", b""]
        )
    )
    if world.chance.random() < 0.5:
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    elif writer.can_write_eof():
        writer.write_eof()
        await asyncio.wait([asyncio.ensure_future(reader.read(1000))], timeout=0.1)
    writer.close()
    world.tally.note("vandal", "CLOSED", frozenset({"CLOSED"}))


async def watcher(world: World) -> None:
    """Probes and Prometheus."""
    for path in ("/healthz", "/readyz", "/metrics"):
        reply = await world.web.get(path)
        world.tally.note("watcher", str(reply.status_code), frozenset({"200"}), f"{path} {reply.text[:300]}")
    world.tally.note("watcher", str(await world.client.health()), frozenset({"True"}))


async def _infer(
    world: World,
    channel: grpc.aio.Channel,
    kind: str,
    allowed: frozenset[str],
    *,
    request: pb.ModelInferRequest | None = None,
    timeout_seconds: float = CALL_SECONDS,
) -> None:
    chosen = world.choice()
    asked = request or infer_request(IMAGES[chosen], model=MODEL)
    try:
        reply = await inference_stub(channel).ModelInfer(asked, timeout=timeout_seconds)
    except grpc.aio.AioRpcError as error:
        world.tally.note(kind, error.code().name, allowed, error.details() or "")
    else:
        world.check(kind, rows_of(reply), reply.model_version, chosen)


async def again_and_again(kind: str, one_round: Round, pause_seconds: float, world: World) -> None:
    """Without end: what a round raises is an outcome that it must not have, and the next one follows."""
    while True:
        try:
            await one_round(world)
        except Exception as error:  # noqa: BLE001 - one caller must not end an hour of all
            outcome = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
            world.tally.note(kind, outcome, NOTHING, str(error)[:MOST_WORDS])
        await asyncio.sleep(pause_seconds)


KINDS: dict[Round, float] = {
    unary: 0.01,
    newcomer: 0.2,
    hurried: 0.02,
    fickle: 0.02,
    streamer: 0.3,
    deserter: 0.5,
    painter: 0.05,
    browser: 0.1,
    wrongdoer: 0.05,
    vandal: 0.2,
    watcher: 5.0,
}
"""Each kind of caller, and the seconds that it rests between two rounds."""
