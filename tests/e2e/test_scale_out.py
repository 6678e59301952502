"""Several gateways behind one name, in network namespaces: one dies, one comes, all are replaced, under load.

The model sleeps, so the machine's cores are not what is measured. Every answer is checked.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from seqserve.client import AsyncClient
from seqserve.client.connection import MAX_MESSAGE_BYTES, Options, channel_options
from seqserve.client.replies import reply_of
from seqserve.client.requests import predict_request
from seqserve.pb.v1 import prediction_pb2_grpc
from support.archives import FloatArray, make_archive
from support.callers import Ask, calling
from support.fleet import Fleet, Member, fleet
from support.running import until

log = logging.getLogger("scale out")
"""`--log-cli-level INFO` shows the figures of a run."""
CALLERS = 24
SOON = ("grpc.dns_min_time_between_resolutions_ms", 500)
"""A client looks the name up again after half a second, where it has a reason to; by itself after 30."""
AGE = "--max-connection-age-seconds=1"
"""A connection that has grown old is a reason; the end of a gateway is one without it."""
ROUND_ROBIN: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
HEALTH_CHECKED = {**ROUND_ROBIN, "healthCheckConfig": {"serviceName": ""}}
OURS = str(dict(channel_options(4, MAX_MESSAGE_BYTES))["grpc.service_config"])
PAUSE = "--drain-pause-seconds=3"
"""Time enough to hear of it, on a machine that has other work."""
MANY = 100
MEASURED_SECONDS = 5.0
WAIT_SECONDS = 60.0
RESOLVE_SECONDS = 30.0
"""Between two questions of a gRPC client for the same name, unless it is told otherwise."""


@pytest.fixture(scope="module", params=["python", pytest.param("native", marks=pytest.mark.long)])
def gateways(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet, which each test brings to the size that it wants."""
    if request.param == "native":
        pytest.importorskip("seqserve.native_front._native", reason="the native front is not built")
    folder = tmp_path_factory.mktemp(f"fleet-{request.param}")
    make_archive(folder)
    with fleet(folder, folder, f"--front={request.param}") as running:
        yield running


async def test_a_gateway_that_is_killed_takes_with_it_what_it_had_and_no_more(gateways: Fleet) -> None:
    """A caller may lose two: until gRPC has told its balancer of the end, the next call can go the same way."""
    await _of_size(gateways, 3)
    async with asking(gateways.target, ROUND_ROBIN) as ask, calling(ask, CALLERS) as callers:
        await _until_it_answers_its_share(gateways.members[0], gateways)
        await asyncio.to_thread(gateways.kill, gateways.members[0])
        await callers.until_answered(10 * CALLERS)
        lost = len(callers.failures)
        await callers.until_answered(10 * CALLERS)
    log.info("%d of %d calls in flight were lost", lost, CALLERS)

    assert callers.wrong == 0
    assert set(callers.kinds) <= {"UNAVAILABLE"}
    assert lost <= CALLERS, "so many are in flight on all of them"
    assert len(callers.failures) == lost, "more were lost after the end was known"


async def test_our_client_hears_nothing_of_it(gateways: Fleet) -> None:
    await _of_size(gateways, 3)
    async with AsyncClient(gateways.target) as client, calling(_predict(client), CALLERS) as callers:
        await _until_it_answers_its_share(gateways.members[-1], gateways)
        await asyncio.to_thread(gateways.kill, gateways.members[-1])
        await callers.until_answered(10 * CALLERS)

    assert (callers.wrong, callers.failures) == (0, [])


@pytest.mark.long
async def test_an_address_where_nobody_is_costs_our_client_nothing(gateways: Fleet) -> None:
    await _of_size(gateways, 2)
    gateways.names.addresses = [*gateways.names.addresses, gateways.network.nobody]
    async with AsyncClient(gateways.target) as client, calling(_predict(client), CALLERS) as callers:
        await callers.until_answered(10 * CALLERS)

    assert (callers.wrong, callers.failures) == (0, [])


async def test_a_gateway_that_is_added_gets_its_share_and_nobody_fails(gateways: Fleet) -> None:
    await _of_size(gateways, 2, AGE)
    async with asking(gateways.target, ROUND_ROBIN) as ask, calling(ask, CALLERS) as callers:
        [new] = await asyncio.to_thread(gateways.add, 1, AGE)
        await _until_it_answers_its_share(new, gateways)

    assert (callers.wrong, callers.failures) == (0, [])


@pytest.mark.long
async def test_our_client_finds_a_new_gateway_at_its_own_pace(gateways: Fleet) -> None:
    """With gRPC's own 30 s between two questions."""
    await _of_size(gateways, 2, AGE)
    async with AsyncClient(gateways.target) as client, calling(_predict(client), CALLERS) as callers:
        [new] = await asyncio.to_thread(gateways.add, 1, AGE)
        await _until_it_answers_its_share(new, gateways)

    assert (callers.wrong, callers.failures) == (0, [])


@pytest.mark.long
@pytest.mark.parametrize("how", ["retries", "health"])
async def test_all_are_replaced_one_after_the_other_and_nobody_fails(gateways: Fleet, how: str) -> None:
    """By clients that try again, as ours does, and by those that only follow the gateways' health."""
    follows_health = how == "health"
    config = HEALTH_CHECKED if follows_health else json.loads(OURS)
    options = [PAUSE] if follows_health else []
    await _of_size(gateways, 3, *options)
    async with asking(gateways.target, config) as ask, calling(ask, CALLERS) as callers:
        for old in list(gateways.members):
            [new] = await asyncio.to_thread(gateways.add, 1, *options)
            assert await asyncio.to_thread(gateways.retire, old) == 0
            await _until_it_answers_its_share(new, gateways)
        await callers.until_answered(10 * CALLERS)

    assert (callers.wrong, callers.failures) == (0, [])


@pytest.mark.long
async def test_who_neither_tries_again_nor_follows_health_is_refused_for_a_moment(gateways: Fleet) -> None:
    """So these tests do see what the others are spared."""
    await _of_size(gateways, 3)
    async with asking(gateways.target, ROUND_ROBIN) as ask, calling(ask, CALLERS) as callers:
        await _until_it_answers_its_share(gateways.members[0], gateways)
        assert await asyncio.to_thread(gateways.retire, gateways.members[0]) == 0
        await callers.until_answered(10 * CALLERS)
    log.info("%d calls were refused", len(callers.failures))

    assert callers.wrong == 0
    assert callers.kinds["UNAVAILABLE"] > 0
    assert set(callers.kinds) <= {"UNAVAILABLE", "CANCELLED"}


@pytest.mark.long
async def test_a_gateway_whose_network_is_gone_costs_time_and_no_answer(gateways: Fleet) -> None:
    """Nobody says that it is gone: what is under way there is tried elsewhere when TCP gives up, after 20 s."""
    await _of_size(gateways, 3)
    lost = gateways.members[0]
    async with AsyncClient(gateways.target) as client, calling(_predict(client), CALLERS) as callers:
        lost.namespace.cut()
        begun = time.monotonic()
        await callers.until_answered(20 * CALLERS)
        log.info("%d more answers %.1f s after the cut", 20 * CALLERS, time.monotonic() - begun)
    await asyncio.to_thread(gateways.kill, lost)

    assert (callers.wrong, callers.failures) == (0, [])


@pytest.mark.long
async def test_what_one_to_three_gateways_answer(gateways: Fleet) -> None:
    rates: list[float] = []
    for size in (1, 2, 3):
        await _of_size(gateways, size)
        async with asking(gateways.target, ROUND_ROBIN) as ask, calling(ask, 2 * CALLERS) as callers:
            before, answered = await _answered(gateways), callers.answered
            begun = time.monotonic()
            await asyncio.sleep(MEASURED_SECONDS)
            rates.append((callers.answered - answered) / (time.monotonic() - begun))
            assert all(count > before[member] for member, count in (await _answered(gateways)).items())
        assert (callers.wrong, callers.failures) == (0, [])
        log.info("%d: %.0f answers a second, %.2f times one's", size, rates[-1], rates[-1] / rates[0])


@pytest.mark.long
async def test_a_hundred_addresses_do_not_fit_and_come_all_the_same(gateways: Fleet) -> None:
    """Over UDP the answer is cut, the client asks again over TCP, and connects to every address."""
    [member] = await asyncio.to_thread(gateways.add, 1, addresses=MANY)
    gateways.names.addresses = member.namespace.addresses
    cut = gateways.names.cut
    async with asking(gateways.target, ROUND_ROBIN) as ask, calling(ask, CALLERS) as callers:
        await until(lambda: len(member.connected_addresses()) == MANY)
    await asyncio.to_thread(gateways.retire, member)

    assert gateways.names.cut > cut
    assert (callers.wrong, callers.failures) == (0, [])


@asynccontextmanager
async def asking(target: str, config: dict[str, Any]) -> AsyncIterator[Ask]:
    """A channel of its own with that service configuration."""
    options: Options = [("grpc.service_config", json.dumps(config)), SOON]
    async with grpc.aio.insecure_channel(target, options) as channel:
        stub = prediction_pb2_grpc.PredictionServiceStub(channel)  # type: ignore[no-untyped-call]  # generated

        async def ask(row: FloatArray) -> FloatArray:
            request = predict_request(row, model="tiny", version="", top_k=0)
            reply = reply_of(await stub.Predict(request, timeout=WAIT_SECONDS))
            return reply.answers[0].values

        yield ask


def _predict(client: AsyncClient) -> Ask:
    async def ask(row: FloatArray) -> FloatArray:
        return (await client.predict(row, model="tiny", timeout_seconds=WAIT_SECONDS)).answers[0].values

    return ask


async def _of_size(gateways: Fleet, size: int, *options: str) -> None:
    """Bring the fleet to that size, all with these options."""
    fitting = [member for member in gateways.members if member.options == options][:size]
    if missing := size - len(fitting):
        await asyncio.to_thread(gateways.add, missing, *options)
        fitting = [member for member in gateways.members if member.options == options]
    others = [member for member in gateways.members if member not in fitting]
    await asyncio.gather(*(asyncio.to_thread(gateways.retire, member) for member in others))


async def _until_it_answers_its_share(new: Member, gateways: Fleet) -> None:
    """Return when, of what all answer in a second, it answers at least half of what an even share would be."""
    async with asyncio.timeout(WAIT_SECONDS + RESOLVE_SECONDS):
        share = 0.0
        while share < 0.5 / len(gateways.members):
            before = await _answered(gateways)
            await asyncio.sleep(1.0)
            more = {member: count - before[member] for member, count in (await _answered(gateways)).items()}
            share = more[new] / max(1, sum(more.values()))


async def _answered(gateways: Fleet) -> dict[Member, int]:
    counts = await asyncio.gather(*(asyncio.to_thread(each.answered) for each in gateways.members))
    return dict(zip(gateways.members, counts, strict=True))
