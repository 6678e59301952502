"""A real gateway that gets no more memory: what does not fit fails alone as long as it is Python that finds none.

Where gRPC's core or the native front find none, C++ ends the process, and whoever started it starts the next one.
"""

from __future__ import annotations

import asyncio
import base64
import resource
import shutil
import signal
import struct
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import torch

from seqserve.pb import inference_pb2 as pb
from support.archives import FloatArray, make_archive
from support.checked import CALL_SECONDS, Checked, Figures, ask_over_http, checked, web_of
from support.oip import inference_stub, rows_of
from support.pictures import PNG_MAGIC, chunk
from support.served import Served, serving
from support.torchscript import scripted
from support.truth import HANDLER, IMAGES, SIGNATURE, expected, network

SPARE_BYTES = 96 << 20
"""Less than the picture needs at once; what its failure leaves is enough for small requests."""
NEXT_TO_NOTHING_BYTES = 16 << 20
EXAMPLES = 16384
LARGE_AT_ONCE = 4
"""Of 51 MB each, for which there is no room even once."""
SIDE, BYTES_A_PIXEL = 4000, 8
TURNS = 5
RESIZED = "resized"
WANT_OF_MEMORY = {"OK", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "UNAVAILABLE"}
"""UNKNOWN: gRPC itself had no memory to take the message up. UNAVAILABLE: the process has ended."""
ENDED_BY_ITSELF = {-signal.SIGABRT, -signal.SIGSEGV}
"""C++ ends where it finds no memory; whoever started the process starts the next one."""


@contextmanager
def confined(process: int, spare_bytes: int) -> Iterator[None]:
    """While it may have little more address space than it has now."""
    pages = int((Path("/proc") / str(process) / "statm").read_text().split()[0])
    before = resource.prlimit(process, resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + spare_bytes
    resource.prlimit(process, resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.prlimit(process, resource.RLIMIT_AS, before)


async def large(caller: Checked) -> str:
    return await caller.call(np.arange(EXAMPLES) % 64)


@cache
def large_picture() -> bytes:
    """A black PNG of some 100 KB, which is 128 MB once it is inflated."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 6, 0, 0, 0)
    rows = zlib.compress(bytes(SIDE * (1 + SIDE * BYTES_A_PIXEL)), 1)
    return PNG_MAGIC + chunk("IHDR", header) + chunk("IDAT", rows) + chunk("IEND", b"")


def put_resizing(store: Path) -> None:
    """`digit`'s network for pictures of any size."""
    golden = IMAGES[:8].reshape(-1, 784), expected("1")[:8]
    members = {"resized.pt": scripted(network("1")), "handler.py": HANDLER}
    signature = SIGNATURE.model_copy(update={"resize": True})
    make_archive(store, RESIZED, "1", signature=signature, golden=golden, replace=members)


@cache
def answer_to_black() -> FloatArray:
    """What the eager module gives for it."""
    with torch.inference_mode():
        answer: FloatArray = network("1")(torch.zeros(1, 784)).numpy()
    return answer


async def picture_over_grpc(caller: Checked) -> str:
    request = pb.ModelInferRequest(model_name=RESIZED)
    sent = request.inputs.add(name="image", datatype="BYTES", shape=[1])
    sent.contents.bytes_contents.append(large_picture())
    try:
        reply = await inference_stub(caller.channel).ModelInfer(request, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as refusal:
        return refusal.code().name
    np.testing.assert_allclose(rows_of(reply), answer_to_black(), atol=1e-5)
    return "OK"


async def picture_over_http(web: httpx.AsyncClient) -> int:
    data = [base64.b64encode(large_picture()).decode()]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "base64"}}
    reply = await web.post(f"/v2/models/{RESIZED}/infer", json={"inputs": [tensor | {"data": data}]})
    if reply.status_code == httpx.codes.OK:
        answer = np.array(reply.json()["outputs"][0]["data"], np.float32).reshape(1, -1)
        np.testing.assert_allclose(answer, answer_to_black(), atol=1e-5)
    return reply.status_code


@asynccontextmanager
async def neighbours(gateway: Served) -> AsyncIterator[Checked]:
    """One who asks over gRPC without end, and one over HTTP, who notes its status as an outcome too."""
    ended = asyncio.Event()
    async with checked(gateway.grpc) as caller, web_of(gateway.http) as web:

        async def ask_web() -> None:
            while not ended.is_set():
                caller.outcomes[str(await ask_over_http(web))] += 1

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(caller.call_until(ended))
            tasks.create_task(ask_web())
            yield caller
            ended.set()


async def test_a_picture_that_finds_no_memory_is_refused_alone(
    tmp_path: Path, models: Path, front: str, engine: str, record_property: Figures
) -> None:
    """Over both APIs; neighbours with small requests are answered, and rightly, as if nothing were."""
    store = shutil.copytree(models, tmp_path / "store")
    put_resizing(store)
    with serving(tmp_path, store, f"--front={front}", f"--engine={engine}") as gateway:
        async with checked(gateway.grpc) as caller, web_of(gateway.http) as web:
            assert [await picture_over_grpc(caller), await picture_over_http(web)] == ["OK", 200]
            async with neighbours(gateway) as others:
                with confined(gateway.process.pid, SPARE_BYTES):
                    refused = [await picture_over_grpc(caller) for _ in range(TURNS)]
                    refused_web = [await picture_over_http(web) for _ in range(TURNS)]
            last = [await picture_over_grpc(caller), await picture_over_http(web)]
    record_property("pictures", dict(Counter(map(str, [*refused, *refused_web]))))
    record_property("neighbours", dict(others.outcomes))
    assert refused == ["RESOURCE_EXHAUSTED"] * TURNS
    assert refused_web == [429] * TURNS
    assert others.outcomes.keys() == {"OK", "200"}
    assert not others.wrong
    assert last == ["OK", 200]


@pytest.mark.long
async def test_where_nothing_is_left_no_answer_is_wrong_and_nothing_hangs(
    tmp_path: Path, models: Path, front: str, engine: str, record_property: Figures
) -> None:
    """It serves on, or the process ends by itself."""
    chosen = (f"--front={front}", f"--engine={engine}")
    limits = (f"--max-request-examples={EXAMPLES}", "--max-queue-size=100000")
    with serving(tmp_path, models, *chosen, *limits) as gateway:
        async with checked(gateway.grpc) as caller:
            assert await caller.call() == "OK"
            with confined(gateway.process.pid, NEXT_TO_NOTHING_BYTES):
                await asyncio.gather(*(large(caller) for _ in range(LARGE_AT_ONCE)))
            is_well = await served_or_ended(gateway, caller)
            record_property("outcomes", dict(caller.outcomes))
            assert is_well
            assert not caller.wrong
            assert {"OK"} < caller.outcomes.keys() <= WANT_OF_MEMORY, "memory was wanting"


async def served_or_ended(gateway: Served, caller: Checked) -> bool:
    """Whether it serves on, or has ended by itself; nothing hangs."""
    if await caller.call() == "OK":
        return True
    async with asyncio.timeout(CALL_SECONDS):
        return await asyncio.to_thread(gateway.process.wait) in ENDED_BY_ITSELF
