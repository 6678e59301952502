"""A gateway that requires attestations: what nobody trusted has attested never answers, the old version does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from structlog.testing import capture_logs

from seqserve.archive import Archive, scan_store
from seqserve.errors import SettingsInvalid
from seqserve.gateway import Gateway
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from seqserve.server import serve
from seqserve.trust import attestation_path
from support.archives import make_archive, write_sidecar
from support.attesting import Signer, attest, trusting
from support.engines import FakeEngine, FakeModel, expected_answers
from support.gateway import settings_for_tests
from support.oip import infer_request, inference_stub, rows_of

IMAGES = np.random.default_rng(5).random((3, 6), np.float32)
RELEASE, NEXT, FOREIGN = Signer(), Signer(), Signer()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o755)
    attest(make_archive(folder), RELEASE)
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return trusting(tmp_path / "trusted", release=RELEASE).keys


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqserve.repository.patience.SETTLE_SECONDS", 0.0)


@asynccontextmanager
async def serving(
    store: Path, keys: Path, engine: FakeEngine
) -> AsyncIterator[tuple[Gateway, GRPCInferenceServiceStub]]:
    gateway = Gateway(settings_for_tests(model_store=store, trusted_keys=keys))
    try:
        await gateway.start()
        await gateway.load(lambda: scan_store(store), engine)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
            yield gateway, inference_stub(channel)
    finally:
        await gateway.drain()


async def follow(gateway: Gateway) -> None:
    """Two looks: after the first nothing counts as half copied any more."""
    for _ in range(2):
        await gateway.sync()


async def version_met(stub: GRPCInferenceServiceStub) -> str:
    reply = await stub.ModelInfer(infer_request(IMAGES))
    np.testing.assert_allclose(rows_of(reply), expected_answers(IMAGES, 2), atol=1e-6)
    return str(reply.model_version)


def unattested(store: Path) -> None:
    make_archive(store, version="2")


def tampered(store: Path) -> None:
    """Attested, then changed by somebody who can also write the sidecar."""
    path = make_archive(store, version="2")
    attest(path, RELEASE)
    make_archive(store, version="2", replace={"handler.py": b"import os\n"})


def foreign(store: Path) -> None:
    attest(make_archive(store, version="2"), FOREIGN)


def swapped(store: Path) -> None:
    path = make_archive(store, version="2")
    attestation_path(path).write_bytes((store / "tiny-1.mar.sig").read_bytes())


def renamed(store: Path) -> None:
    """The attested archive once more, under a higher number."""
    path = store / "tiny-2.mar"
    path.write_bytes((store / "tiny-1.mar").read_bytes())
    write_sidecar(path)
    attestation_path(path).write_bytes((store / "tiny-1.mar.sig").read_bytes())


@pytest.mark.parametrize("put", [unattested, tampered, foreign, swapped, renamed])
async def test_a_new_version_that_nobody_trusted_has_attested_is_refused_and_the_old_one_serves_on(
    store: Path, keys: Path, engine: FakeEngine, put: object
) -> None:
    assert callable(put)
    async with serving(store, keys, engine) as (gateway, stub):
        put(store)
        await follow(gateway)

        entry = gateway.repository.find("tiny", "2")
        assert entry is not None
        assert (entry.state.value, entry.reason) == ("failed", "ARCHIVE_UNTRUSTED")
        assert entry.signature is None, "nothing of it was parsed"
        assert await version_met(stub) == "1"
        assert engine.loads == ["tiny/1"]


async def test_an_attestation_may_come_after_its_archive(store: Path, keys: Path, engine: FakeEngine) -> None:
    async with serving(store, keys, engine) as (gateway, stub):
        path = make_archive(store, version="2")
        await follow(gateway)
        assert await version_met(stub) == "1"
        attest(path, RELEASE)
        await follow(gateway)
        assert await version_met(stub) == "2"


async def test_keys_are_changed_without_a_restart(store: Path, keys: Path, engine: FakeEngine) -> None:
    async with serving(store, keys, engine) as (gateway, stub):
        NEXT.publish(keys / "next.pub")
        attest(make_archive(store, version="2"), NEXT)
        with capture_logs() as logs:
            await follow(gateway)
        assert await version_met(stub) == "2"
        [ready] = [line for line in logs if line["event"] == "model ready"]
        assert ready["attested_by"] == [NEXT.key_id]

        (keys / "release.pub").unlink()
        attest(make_archive(store, version="3"), RELEASE)
        await follow(gateway)
        assert await version_met(stub) == "2"


async def test_the_engine_gets_the_bytes_that_were_attested_though_the_file_is_replaced(
    store: Path, keys: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store / "tiny-1.mar"
    attested = path.read_bytes()
    given: list[bytes] = []
    load = engine.load

    async def replace_then_load(archive: Archive) -> FakeModel:
        path.write_bytes(b"what somebody puts there between the check and the use")
        given.append(archive.content)
        return await load(archive)

    monkeypatch.setattr(engine, "load", replace_then_load)
    async with serving(store, keys, engine) as (_, stub):
        assert await version_met(stub) == "1"
    assert given == [attested]


@pytest.fixture(params=[0o775, 0o1777])
def open_store(store: Path, request: pytest.FixtureRequest) -> Path:
    store.chmod(request.param)
    return store


async def test_a_gateway_does_not_start_over_a_store_that_others_may_write(
    open_store: Path, keys: Path
) -> None:
    with pytest.raises(SettingsInvalid, match="may be written by its group or by others") as refused:
        async with asyncio.timeout(30):
            await serve(settings_for_tests(model_store=open_store, trusted_keys=keys))
    assert refused.value.hint == f"close it: chmod go-w {open_store}"
