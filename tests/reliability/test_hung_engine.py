"""A batch that never ends, in a real engine: what its callers hear, and that nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from seqserve.client import AsyncClient, Unavailable
from support.checked import CALL_SECONDS, Figures, checked
from support.exposition import total
from support.oip import details_of, infer_request, inference_stub
from support.paced import PACED, endless
from support.served import Served, serving
from support.truth import IMAGES

MOST_AMPLIFICATION = 1.1
CALLS = 600
AT_ONCE = 50
WAITING = 8
HEALTH_SECONDS = 60
NOBODY = "127.0.0.1:1"
"""An address that nobody listens on."""
OPTIONS = ("--compute-slots=2", "--max-batch-seconds=0.5", "--health-port=0", "--drain-grace-seconds=1")


@pytest.fixture(scope="module")
def hung(tmp_path_factory: pytest.TempPathFactory, models: Path, front: str) -> Iterator[Served]:
    """A gateway whose `paced` hangs in one of two compute slots."""
    with serving(tmp_path_factory.mktemp("hung"), models, f"--front={front}", *OPTIONS) as gateway:
        asyncio.run(_hang(gateway))
        yield gateway
        assert gateway.end() == 1, "a batch that does not come back is exit status 1"


async def _hang(gateway: Served) -> None:
    """Those in the batch that hangs and those behind it hear of it; afterwards the version is not ready."""
    async with checked(gateway.grpc) as caller:
        request = infer_request(endless(), model=PACED)
        hanging = asyncio.ensure_future(
            inference_stub(caller.channel).ModelInfer(request, timeout=CALL_SECONDS)
        )
        while not await total(gateway.http, "seqserve_batches_total", model=PACED):
            await asyncio.sleep(0.02)
        await asyncio.gather(*(caller.call([at], model=PACED) for at in range(WAITING)))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await hanging
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert caller.outcomes.keys() <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
        while await caller.call(model=PACED) != "UNAVAILABLE":
            await asyncio.sleep(0.02)
        assert not caller.wrong


async def test_others_are_answered_and_its_own_callers_are_told_when_to_come_back(hung: Served) -> None:
    async with checked(hung.grpc) as caller:
        outcomes = [await caller.call([at % len(IMAGES)]) for at in range(100)]
        assert (set(outcomes), caller.wrong) == ({"OK"}, 0)
        await caller.call(model=PACED)
        assert details_of(caller.errors[-1])["RetryInfo"].retry_delay.ToMilliseconds() > 0


async def test_probes_say_that_it_lives_and_which_model_does_not(hung: Served) -> None:
    async with AsyncClient(hung.grpc, timeout_seconds=HEALTH_SECONDS) as client:
        served = {
            name: await client.health(name) for name in ("", "liveness", "model/digit", f"model/{PACED}")
        }
    assert served == {"": True, "liveness": True, "model/digit": True, f"model/{PACED}": False}
    async with AsyncClient(hung.health, timeout_seconds=HEALTH_SECONDS) as probe:
        assert await probe.health("liveness")
    async with httpx.AsyncClient(base_url=hung.http, timeout=CALL_SECONDS) as web:
        assert [(await web.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]


async def test_tries_of_a_client_that_meets_nothing_but_failure_add_a_tenth_at_most(
    hung: Served, record_property: Figures
) -> None:
    """Otherwise its retries would be the load that keeps the engine from coming back."""
    record_property("tries_per_call", await tries_per_call(hung))


async def test_tries_where_no_torchserve_is_there_add_no_more(
    tmp_path: Path, models: Path, front: str, record_property: Figures
) -> None:
    options = (f"--front={front}", "--engine=torchserve", f"--torchserve-address={NOBODY}")
    with serving(tmp_path, models, *options) as gateway:
        record_property("tries_per_call", await tries_per_call(gateway))


async def tries_per_call(gateway: Served) -> float:
    """Of one client, all of whose calls fail."""
    room = asyncio.Semaphore(AT_ONCE)
    before = await _refusals(gateway)
    async with AsyncClient(gateway.grpc, timeout_seconds=CALL_SECONDS) as client:

        async def call(at: int) -> None:
            async with room:
                with pytest.raises(Unavailable):
                    await client.predict(IMAGES[at % len(IMAGES)], model=PACED)

        await asyncio.gather(*(call(at) for at in range(CALLS)))
    attempts = await _refusals(gateway) - before
    assert CALLS <= attempts <= CALLS * MOST_AMPLIFICATION
    return attempts / CALLS


async def _refusals(gateway: Served) -> float:
    return await total(gateway.http, "seqserve_requests_total", model=PACED, code="UNAVAILABLE")
