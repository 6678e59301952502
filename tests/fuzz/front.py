"""A real gateway under hostile connections and mutated messages, while a well-behaved caller is answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grpc
import numpy as np
import torch
from torch import nn

from fuzz.attacks import CALL_SECONDS, Attack
from fuzz.connections import Connections
from fuzz.run import PROGRESS_SECONDS, Say
from seqserve.pb import inference_pb2 as pb
from seqserve.signature import CPU_TOLERANCE, Signature
from seqserve.tensors import FloatArray
from support.anything import INFER, Anything
from support.archives import make_archive
from support.contract import signature_document
from support.footprint import Footprint, footprint
from support.oip import infer_request, inference_stub, rows_of
from support.peers import ABORT
from support.served import Served, serving
from support.torchscript import scripted
from support.truth import HANDLER, IMAGES, MODEL, is_right, put_version

AT_ONCE = 8
WARMING_SEED = 0
WRONG = 0.5
CALLS_A_CONNECTION = 2
IDLE_SECONDS = 0.05
BACK_SECONDS = 60.0
ENDED = "gRPC server ended by itself"
MORE_BYTES, MORE_DESCRIPTORS = 64 * 2**20, 4
"""What a gateway may still hold when all have gone: memory that its allocator keeps, and a few files."""
TINY = Signature.parse(signature_document("tiny_image"))


async def attack(front: str, connections: int, seed: int, say: Say, *, engine: str = "embedded") -> Attack:
    """So many hostile connections, and twice as many mutated calls; then all must be as it was before."""
    made, warming = Attack(front), Attack(front)
    with tempfile.TemporaryDirectory() as folder, _gateway(Path(folder), front, engine) as gateway:
        async with grpc.aio.insecure_channel(gateway.grpc) as channel:
            neighbour = asyncio.create_task(_neighbour(channel, made))
            await send_all(gateway, WARMING_SEED, max(connections // 10, AT_ONCE), warming, say)
            made.faults += warming.faults
            if gateway.process.poll() is None:
                before = footprint(gateway.process.pid, 0)
                await send_all(gateway, seed, connections, made, say)
            if neighbour.done():
                made.faults.append(f"the neighbour: {neighbour.exception()!r}")
            neighbour.cancel()
            await asyncio.wait([neighbour])
            if gateway.process.poll() is not None:
                if end_of(gateway) not in made.faults:
                    made.faults.append(end_of(gateway))
                return made
            await _asked_again(channel, made)
        made.faults += await _left(gateway, before)
        logged = errors_logged(gateway)
        made.ended = sum(ENDED in words for words in logged)
        made.faults += [words for words in logged if ENDED not in words or front != "python"]
        if made.lost and not made.ended:
            made.faults.append(f"{made.lost} calls of the neighbour were lost")
    return made


@contextlib.contextmanager
def _gateway(folder: Path, front: str, engine: str) -> Iterator[Served]:
    store = folder / "store"
    store.mkdir()
    put_version(store, "1")
    halves = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 6)
    members = {"tiny.pt": scripted(_tiny()), "handler.py": HANDLER}
    make_archive(store, "tiny", "1", signature=TINY, golden=(halves, _answers(halves)), replace=members)
    with serving(folder, store, f"--front={front}", f"--engine={engine}") as gateway:
        yield gateway


@cache
def _tiny() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 2), nn.Softmax(dim=-1)).eval()


def _answers(rows: FloatArray) -> FloatArray:
    with torch.inference_mode():
        answers: FloatArray = _tiny()(torch.from_numpy(rows.copy())).numpy()
    return answers


async def _neighbour(channel: grpc.aio.Channel, made: Attack) -> None:
    """Asks without end; each answer is checked."""
    while True:
        try:
            await _ask(channel, made)
        except grpc.aio.AioRpcError as error:
            if error.code().name not in made.lost_with:
                raise
            made.lost += 1
        await asyncio.sleep(0.01)


async def _asked_again(channel: grpc.aio.Channel, made: Attack) -> None:
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


async def send_all(gateway: Served, seed: int, count: int, made: Attack, say: Say) -> None:
    """Some at once, until all are sent or the gateway is no more; what was sent when a fault came is kept.

    say: is told how far it is.
    """
    connections, anything = Connections(seed), Anything(seed, WRONG)
    begun = told = time.monotonic()
    async with grpc.aio.insecure_channel(gateway.grpc) as channel:
        for start in range(0, count, AT_ONCE):
            known = len(made.faults)
            made.latest.clear()
            names = [f"{seed}-{number}" for number in range(start, min(start + AT_ONCE, count))]
            sent = [_connect(gateway, connections, f"{name}.wire", made) for name in names]
            for turn in range(CALLS_A_CONNECTION):
                sent += [_call(channel, anything, f"{name}-{turn}.call", made) for name in names]
            ended = await asyncio.gather(*sent, return_exceptions=True)
            made.faults += [repr(error) for error in ended if error is not None]
            if has_ended := gateway.process.poll() is not None:
                made.faults.append(end_of(gateway))
            if len(made.faults) > known:
                made.faults.append(f"sent meanwhile: {', '.join(map(str, made.keep_latest()))}")
            if has_ended:
                return
            made.seconds = time.monotonic() - begun
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                say(made.line())


def end_of(gateway: Served) -> str:
    """How a gateway has ended that should not have."""
    return f"the gateway has ended with {gateway.process.returncode}: {gateway.log.read_text()[-2000:]}"


async def _connect(gateway: Served, connections: Connections, name: str, made: Attack) -> None:
    """One hostile connection, which ends in one of three ways."""
    wire, frames = connections.next()
    number = made.connections
    made.latest[name] = wire
    made.connections, made.frames = made.connections + 1, made.frames + frames
    host, _, port = gateway.grpc.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except OSError as error:
        if made.front == "python":  # between two servers
            await asyncio.sleep(IDLE_SECONDS)
            return
        made.faults.append(f"nobody listens: {error}")
        return
    with contextlib.suppress(OSError, TimeoutError):
        writer.write(wire)
        async with asyncio.timeout(CALL_SECONDS):
            await writer.drain()
            if number % 3 == 1:
                writer.write_eof()
            while await asyncio.wait_for(reader.read(2**16), IDLE_SECONDS):
                pass
    if number % 3 == 2:
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _call(channel: grpc.aio.Channel, anything: Anything, name: str, made: Attack) -> None:
    """One call that may be no message of its method; where it is answered, rightly."""
    asked = anything.unary()
    made.latest[name] = asked.body
    made.calls += 1
    began = time.monotonic()
    try:
        reply = await channel.unary_unary(asked.path, None, None)(asked.body, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        code, words = error.code().name, error.details()
    else:
        code, words = "OK", ""
        if asked.path == INFER and not _is_answer(asked.body, reply):
            made.faults.append(f"a wrong answer to {asked.body.hex()}")
    seconds = time.monotonic() - began
    made.note(code, seconds, f"{words} of {asked.path} with {asked.body.hex()}")


def _is_answer(body: bytes, answer: bytes) -> bool:
    """Whether a reply holds what the eager module gives, or the classes that were asked for instead."""
    request, reply = pb.ModelInferRequest.FromString(body), pb.ModelInferResponse.FromString(answer)
    if reply.outputs[0].datatype != "FP32":
        return reply.outputs[0].datatype == "BYTES"
    content = request.raw_input_contents[0] if request.raw_input_contents else None
    (tensor,) = request.inputs
    if tensor.datatype != "FP32":
        return True  # the contract cases have those
    numbers = (
        np.array(tensor.contents.fp32_contents, "<f4") if content is None else np.frombuffer(content, "<f4")
    )
    wanted, found = _answers(numbers.reshape(-1, 6)), rows_of(reply)
    bound = CPU_TOLERANCE.absolute + CPU_TOLERANCE.relative * np.abs(wanted)
    return found.shape == wanted.shape and bool((np.abs(found - wanted) <= bound).all())


async def _left(gateway: Served, before: Footprint) -> list[str]:
    """What the gateway holds that it did not hold before, once it has had time to let go."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        now = footprint(gateway.process.pid, 0)
        faults = []
        if now.memory_bytes > before.memory_bytes + MORE_BYTES:
            faults.append(f"{now.memory_bytes >> 20} MiB, {before.memory_bytes >> 20} before")
        if now.descriptors > before.descriptors + MORE_DESCRIPTORS:
            faults.append(f"{now.descriptors} descriptors, {before.descriptors} before")
        if not faults or time.monotonic() > deadline:
            return faults
        await asyncio.sleep(0.2)


def errors_logged(gateway: Served) -> list[str]:
    """Errors of its own that a gateway wrote down."""
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{")]
    wrong = [line for line in lines if line.get("level") in {"error", "critical"}]
    return [f"logged: {line['event']} {str(line.get('exception', ''))[-600:]}" for line in wrong]
