"""What an attack sends to a gateway, and what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import grpc
import numpy as np

from fuzz.attacked import end_of, tiny_answers
from fuzz.attacks import CALL_SECONDS, Attack
from fuzz.connections import Connections
from fuzz.run import PROGRESS_SECONDS, Say
from seqserve.pb import inference_pb2 as pb
from seqserve.signature import CPU_TOLERANCE
from support.anything import INFER, Anything
from support.oip import rows_of
from support.peers import ABORT
from support.served import Served

AT_ONCE = 8
WRONG = 0.5
CALLS_A_CONNECTION = 2
IDLE_SECONDS = 0.05
ENDS = "close", "half-close", "reset"


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
        if made.front != "python":
            made.faults.append(f"nobody listens: {error}")
        await asyncio.sleep(IDLE_SECONDS)  # grpc.aio may be between two servers
        return
    await _speak(reader, writer, wire, ENDS[number % len(ENDS)])


async def _speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: bytes, end: str) -> None:
    """Send all, and listen until there is silence."""
    with contextlib.suppress(OSError, TimeoutError):
        writer.write(wire)
        async with asyncio.timeout(CALL_SECONDS):
            await writer.drain()
            if end == "half-close":
                writer.write_eof()
            while await asyncio.wait_for(reader.read(2**16), IDLE_SECONDS):
                pass
    if end == "reset":
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
    wanted, found = tiny_answers(numbers.reshape(-1, 6)), rows_of(reply)
    bound = CPU_TOLERANCE.absolute + CPU_TOLERANCE.relative * np.abs(wanted)
    return found.shape == wanted.shape and bool((np.abs(found - wanted) <= bound).all())
