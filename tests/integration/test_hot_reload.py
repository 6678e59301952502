"""Versions come and go under load, and no caller notices more than the version in the reply."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from seqserve.archive import scan_store
from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from seqserve.repository.versions import ModelState, ModelVersion
from seqserve.settings import Settings
from support.archives import make_archive
from support.engines import FakeEngine, expected_answers
from support.gateway import settings_for_tests
from support.oip import infer_request, inference_stub, rows_of
from support.running import until

RELOADS, BROKEN = 100, 57
CALLERS = 8
LONG_QUEUE = 40
IMAGES = np.random.default_rng(5).random((6, 6), np.float32)  # more than a batch of 4: it is split
EXPECTED = expected_answers(IMAGES, 2)


def settings(store: Path, **changes: object) -> Settings:
    return settings_for_tests(model_store=store, watch_interval_seconds=0.1, **changes)


@contextlib.asynccontextmanager
async def serving(settings: Settings, engine: FakeEngine) -> AsyncIterator[Gateway]:
    """A gateway over the folder that the settings name."""
    gateway = Gateway(settings)
    try:
        await gateway.start()
        await gateway.load(lambda: scan_store(settings.model_store), engine)
        yield gateway
    finally:
        await gateway.drain()


@contextlib.asynccontextmanager
async def stub_of(gateway: Gateway) -> AsyncIterator[GRPCInferenceServiceStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        yield inference_stub(channel)


async def state_of(gateway: Gateway, version: str, state: ModelState) -> None:
    """Return when a version of `tiny` has come to that state."""
    is_there = asyncio.Event()

    async def hear(changed: ModelVersion) -> None:
        if (changed.version, changed.state) == (version, state):
            is_there.set()

    gateway.repository.listeners.append(hear)
    async with asyncio.timeout(30):
        await is_there.wait()


async def test_a_hundred_reloads_under_load_fail_nobody_and_a_broken_one_changes_nothing(
    tmp_path: Path, engine: FakeEngine
) -> None:
    make_archive(tmp_path)
    is_over = asyncio.Event()
    met: list[str] = []

    async def call(stub: GRPCInferenceServiceStub) -> None:
        while not is_over.is_set():
            reply = await stub.ModelInfer(infer_request(IMAGES))
            np.testing.assert_allclose(rows_of(reply), EXPECTED, atol=1e-6)
            met.append(reply.model_version)

    async with (
        serving(settings(tmp_path, version_policy="latest:1"), engine) as gateway,
        stub_of(gateway) as stub,
    ):
        callers = [asyncio.create_task(call(stub)) for _ in range(CALLERS)]
        for version in range(2, RELOADS + 2):
            path = make_archive(tmp_path, version=str(version))
            if version == BROKEN:
                path.write_bytes(b"no archive")
            await gateway.sync()
        await stub.ModelInfer(infer_request(IMAGES))
        is_over.set()
        await asyncio.gather(*callers)
        [last, *rest] = [entry for entry in gateway.repository.versions() if entry.state is ModelState.READY]

    assert (last.version, rest) == (str(RELOADS + 1), [])
    assert len(set(met)) > RELOADS / 4  # they were really met while they came and went
    assert str(BROKEN) not in met


async def test_what_is_copied_into_the_store_is_served_without_being_asked_for(
    tmp_path: Path, engine: FakeEngine
) -> None:
    store, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    store.mkdir()
    elsewhere.mkdir()
    make_archive(store)
    async with serving(settings(store), engine) as gateway:
        following = asyncio.create_task(gateway.follow_store())
        coming = asyncio.create_task(state_of(gateway, "2", ModelState.READY))
        for file in make_archive(elsewhere, version="2").parent.iterdir():
            (store / file.name).write_bytes(file.read_bytes())
        await coming
        following.cancel()

        assert gateway.repository.resolve("tiny", "").version == "2"


@pytest.mark.parametrize("watch", ["auto", "poll"])
async def test_a_store_that_is_away_for_a_while_is_followed_again(
    tmp_path: Path, engine: FakeEngine, watch: str
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    make_archive(store)
    async with serving(settings(store, watch=watch), engine) as gateway:
        following = asyncio.create_task(gateway.follow_store())
        store.rename(tmp_path / "elsewhere")
        await gateway.sync()
        assert gateway.repository.is_ready("tiny", "")
        coming = asyncio.create_task(state_of(gateway, "2", ModelState.READY))
        (tmp_path / "elsewhere").rename(store)
        make_archive(store, version="2")
        await coming
        following.cancel()


async def test_new_labels_and_weights_count_from_the_next_request_on(
    tmp_path: Path, engine: FakeEngine
) -> None:
    for version in "123":
        make_archive(tmp_path, version=version)
    async with serving(settings(tmp_path), engine) as gateway, stub_of(gateway) as stub:

        async def version_met(asked: str = "") -> str:
            return str((await stub.ModelInfer(infer_request(IMAGES, version=asked))).model_version)

        assert await version_met() == "3"
        labels = {"tiny": {"labels": {"stable": "1", "next": "2"}}}
        await gateway.apply(settings(tmp_path, models=labels))
        await gateway.sync()
        assert (await version_met(), await version_met("next")) == ("1", "2")
        assert engine.defaults == {"tiny": "1"}

        await gateway.apply(settings(tmp_path, models={"tiny": {"weights": {"2": 1}}}))
        assert await version_met() == "2"


async def test_a_policy_that_becomes_tighter_lets_versions_go(tmp_path: Path, engine: FakeEngine) -> None:
    for version in "123":
        make_archive(tmp_path, version=version)
    async with serving(settings(tmp_path), engine) as gateway:
        following = asyncio.create_task(gateway.follow_store())
        leaving = asyncio.create_task(state_of(gateway, "1", ModelState.UNLOADED))
        await asyncio.sleep(0)
        await gateway.apply(settings(tmp_path, version_policy="latest:2"))
        await leaving
        following.cancel()

        assert engine.unloaded == ["tiny/1"]
        assert [entry.version for entry in gateway.repository.versions()] == ["2", "3"]


async def test_a_batch_that_hangs_takes_its_model_out_of_service_until_it_ends(
    tmp_path: Path, engine: FakeEngine
) -> None:
    make_archive(tmp_path)
    async with (
        serving(settings(tmp_path, max_batch_seconds=0.05), engine) as gateway,
        stub_of(gateway) as stub,
    ):
        engine.hold()
        stalled = asyncio.create_task(state_of(gateway, "1", ModelState.STALLED))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ModelInfer(infer_request(IMAGES))
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await stalled
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ModelInfer(infer_request(IMAGES))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

        recovering = asyncio.create_task(state_of(gateway, "1", ModelState.READY))
        await asyncio.sleep(0)
        engine.gate.set()
        await recovering
        np.testing.assert_allclose(rows_of(await stub.ModelInfer(infer_request(IMAGES))), EXPECTED, atol=1e-6)


async def test_a_roll_back_to_a_version_that_has_to_be_loaded_fails_nobody(
    tmp_path: Path, engine: FakeEngine
) -> None:
    for version in "12":
        make_archive(tmp_path, version=version)
    with_label = {"version_policy": "latest:1", "models": {"tiny": {"labels": {"stable": "1"}}}}
    async with (
        serving(settings(tmp_path, version_policy="latest:1"), engine) as gateway,
        stub_of(gateway) as stub,
    ):
        met = []
        following = asyncio.create_task(gateway.follow_store())
        coming = asyncio.create_task(state_of(gateway, "1", ModelState.READY))
        await gateway.apply(settings(tmp_path, **with_label))
        while not coming.done():
            met.append((await stub.ModelInfer(infer_request(IMAGES))).model_version)
        met.append((await stub.ModelInfer(infer_request(IMAGES))).model_version)
        following.cancel()

    assert set(met) <= {"1", "2"}
    assert met[-1] == "1"


async def test_an_engine_that_hangs_while_its_version_leaves_holds_nothing_else_up(
    tmp_path: Path, engine: FakeEngine
) -> None:
    make_archive(tmp_path)
    quick = settings(tmp_path, version_policy="latest:1", max_batch_seconds=0.05)
    async with serving(quick, engine) as gateway, stub_of(gateway) as stub:
        engine.hold()
        calling = asyncio.ensure_future(stub.ModelInfer(infer_request(IMAGES)))
        await engine.entered.wait()
        held, engine.gate = engine.gate, asyncio.Event()  # what comes now is not held
        engine.gate.set()
        make_archive(tmp_path, version="2")
        await gateway.sync()
        make_archive(tmp_path, "other")
        await gateway.sync()

        assert gateway.repository.is_ready("other", "")
        assert gateway.repository.resolve("tiny", "").version == "2"
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await calling
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        held.set()


async def test_a_long_queue_is_answered_although_its_version_leaves(
    tmp_path: Path, engine: FakeEngine
) -> None:
    """It takes longer than a single batch may, and than what hangs is waited for."""
    make_archive(tmp_path)
    slow = settings(tmp_path, version_policy="latest:1", max_batch_seconds=2)
    async with serving(slow, engine) as gateway, stub_of(gateway) as stub:
        ready = gateway.repository.resolve("tiny", "")
        engine.hold()
        calls = [asyncio.ensure_future(stub.ModelInfer(infer_request(IMAGES[:4]))) for _ in range(LONG_QUEUE)]
        await until(lambda: ready.batcher.queued_examples == 4 * (LONG_QUEUE - 1))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
            page = (await http.get("/metrics")).text
        assert f'seqserve_requests_in_flight{{model="tiny",version="1"}} {LONG_QUEUE}.0' in page
        engine.seconds = 0.1
        engine.gate.set()
        make_archive(tmp_path, version="2")
        await gateway.sync()

        replies = await asyncio.gather(*calls)
        assert [reply.model_version for reply in replies] == ["1"] * LONG_QUEUE
        await until(lambda: engine.unloaded == ["tiny/1"])


async def test_slots_that_hanging_batches_hold_count_also_when_their_version_was_unloaded(
    tmp_path: Path, engine: FakeEngine
) -> None:
    make_archive(tmp_path)
    make_archive(tmp_path, "other")
    tight = settings(tmp_path, max_batch_seconds=0.05, compute_slots=1, admin_on_inference_port=True)
    async with serving(tight, engine) as gateway, stub_of(gateway) as stub:
        engine.hold()
        held = engine.gate
        stalled = asyncio.create_task(state_of(gateway, "1", ModelState.STALLED))
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ModelInfer(infer_request(IMAGES))
        await stalled
        assert not gateway.repository.are_all_ready()
        await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="tiny"))
        assert not gateway.repository.are_all_ready()

        held.set()
        reply = await stub.ModelInfer(infer_request(IMAGES, model="other"))
        assert reply.model_name == "other"
        assert gateway.repository.are_all_ready()
