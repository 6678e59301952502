"""The client library against a live gateway: both twins do the same."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from seqserve.archive import Archive
from seqserve.client import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    MessageTooLarge,
    NotFound,
    Overloaded,
    PredictionError,
    Unavailable,
)
from seqserve.errors import EngineUnavailable
from seqserve.gateway import Gateway
from seqserve.signature import Signature
from support.archives import make_archive
from support.asking import Asking
from support.contract import signature_document
from support.engines import FakeEngine, FakeModel, expected_answers
from support.gateway import running_gateway
from support.running import until

PIXELS = np.array([[0, 51, 51], [204, 0, 51]], np.uint8)  # dark enough for a clear answer
IMAGE = (PIXELS / 255).astype(np.float32)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
async def gateway(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    """`tiny` 1 and 2, images of 2x3, with labels and a canary; `line` 1, single numbers."""
    line = Signature.parse(signature_document("line"))
    half = (np.full((1, 1), 0.5, np.float32), np.full((1, 1), 1.0, np.float32))
    archives = [
        make_archive(tmp_path, "tiny", "1"),
        make_archive(tmp_path, "tiny", "2"),
        make_archive(tmp_path, "line", signature=line, golden=half),
    ]
    models = {"tiny": {"labels": {"stable": "1", "next": "2"}, "weights": {"1": 0, "2": 7}}}
    async with running_gateway(archives, engine, models=models) as running:
        yield running


@pytest.fixture
async def client(gateway: Gateway, twin: Any) -> AsyncIterator[Asking]:
    async with twin(f"127.0.0.1:{gateway.grpc_port}") as asking:
        yield asking


async def test_arrays_and_pictures_are_answered_alike(client: Asking) -> None:
    as_array = await client.predict(IMAGE, model="tiny", top_k=2)
    as_pixels = await client.predict(PIXELS, model="tiny", top_k=2)
    as_file = await client.predict(png(PIXELS), model="tiny", top_k=2)
    as_batch = await client.predict([png(PIXELS), png(255 - PIXELS)], model="tiny", top_k=2)

    [expected, other] = expected_answers([IMAGE, 1 - IMAGE], 2)
    for reply in (as_array, as_pixels, as_file):
        [answer] = reply.answers
        np.testing.assert_allclose(answer.values, expected, atol=1e-6)
        assert (answer.label, answer.probability) == answer.top[0] == ("bright", max(answer.values))
    np.testing.assert_allclose(as_batch.answers[1].values, other, atol=1e-6)
    assert (as_file.model, as_file.version, as_file.receipt.engine) == ("tiny", "2", "fake")


@pytest.mark.parametrize(
    ("numbers", "count"), [(0.5, 1), (np.float32(0.5), 1), (np.array(0.5, np.float32), 1), ([0.5] * 3, 3)]
)
async def test_a_number_is_one_example_and_a_list_as_many_as_it_has(
    client: Asking, numbers: object, count: int
) -> None:
    reply = await client.predict(numbers, model="line")

    assert len(reply.answers) == count
    assert all(answer.label == "" and answer.values.shape == (1,) for answer in reply.answers)


async def test_the_callers_id_and_version_reach_the_gateway(client: Asking) -> None:
    reply = await client.predict(IMAGE, model="tiny", version="stable", request_id="order-7")

    assert (reply.version, reply.receipt.request_id) == ("1", "order-7")
    assert (await client.predict(IMAGE, model="tiny", version="2")).version == "2"
    with pytest.raises(ValueError, match="request_id"):
        await client.predict(IMAGE, model="tiny", request_id="not fit for a log")


async def test_models_are_told_with_their_facts(client: Asking) -> None:
    assert [(model.name, model.version, model.state) for model in await client.models()] == [
        ("line", "1", "ready"), ("tiny", "1", "ready"), ("tiny", "2", "ready"),
    ]  # fmt: skip
    tiny = await client.model("tiny")

    assert [version.version for version in tiny.versions] == ["1", "2"]
    assert (tiny.labels, tiny.weights) == ({"stable": "1", "next": "2"}, {"1": 0, "2": 7})
    assert (tiny.name, tiny.default_version) == ("tiny", "2")
    facts = tiny.versions[0]
    assert (facts.task, facts.input, facts.output) == ("classification", "image", "probabilities")
    assert (facts.input_shape, facts.output_shape, facts.labels) == ((6,), (2,), ("dark", "bright"))
    assert (facts.minimum, facts.maximum, "2,3" in facts.example_shapes) == (0.0, 1.0, True)
    assert (facts.resize, facts.invert) == (False, False)
    line = (await client.model("line")).versions[0]
    assert (line.minimum, line.maximum, line.input_shape) == (None, None, (1,))


async def test_health_is_a_yes_or_a_no(client: Asking, gateway: Gateway) -> None:
    assert await client.health()
    assert await client.health("model/tiny/2")
    with pytest.raises(NotFound):
        await client.health("model/nobody")
    await gateway.lose_engine()
    assert not await client.health()
    assert await client.health("liveness")


async def test_refusals_are_typed(client: Asking) -> None:
    with pytest.raises(NotFound, match="nobody") as unknown:
        await client.predict(IMAGE, model="nobody", request_id="order-7")
    with pytest.raises(InvalidRequest) as wrong:
        await client.predict(np.zeros((3, 2), np.float32), model="tiny")
    with pytest.raises(NotFound):
        await client.model("nobody")
    with pytest.raises(MessageTooLarge):
        await client.predict(np.zeros(20 * 2**20, np.uint8), model="tiny")

    assert (unknown.value.code, unknown.value.reason, unknown.value.request_id) == (
        "NOT_FOUND", "MODEL_NOT_FOUND", "order-7",
    )  # fmt: skip
    assert (wrong.value.field, wrong.value.reason) == ("image", "SHAPE_NOT_ACCEPTED")
    assert "2,3" in wrong.value.accepted
    assert wrong.value.request_id


async def test_a_client_takes_messages_as_large_as_it_is_told_to(
    tmp_path: Path, engine: FakeEngine, twin: Any
) -> None:
    async with running_gateway([make_archive(tmp_path)], engine) as gateway:
        address = f"127.0.0.1:{gateway.grpc_port}"
        async with twin(address, max_message_bytes=1000) as small, twin(address) as usual:
            many = np.stack([IMAGE] * 100)
            assert len((await usual.predict(many, model="tiny")).answers) == 100
            with pytest.raises(MessageTooLarge):
                await small.predict(many, model="tiny")
            assert len((await small.predict(IMAGE, model="tiny")).answers) == 1
            with pytest.raises(MessageTooLarge):  # what it sends is small, and what comes back is not
                await small.predict(np.stack([PIXELS] * 100), model="tiny")


@pytest.mark.parametrize("limit", [0, -1, 2**31])
async def test_an_impossible_limit_is_a_value_error(twin: Any, limit: int) -> None:
    with pytest.raises(ValueError, match="max_message_bytes"):
        twin("127.0.0.1:1", max_message_bytes=limit)


async def test_a_fault_inside_is_not_tried_again(client: Asking, engine: FakeEngine) -> None:
    engine.batches.clear()
    engine.fault = RuntimeError("secret")
    with capture_logs() as logged, pytest.raises(InternalError) as fault:
        await client.predict(IMAGE, model="tiny")

    assert engine.batches == [1]
    assert fault.value.request_id in str(fault.value)
    assert fault.value.request_id in [event.get("request_id") for event in logged]
    assert "secret" not in str(fault.value)


async def test_deadlines_are_those_of_the_call_or_of_the_client(
    client: Asking, gateway: Gateway, engine: FakeEngine, twin: Any
) -> None:
    engine.hold()
    with pytest.raises(DeadlineExceeded):
        await client.predict(IMAGE, model="tiny", timeout_seconds=0.1)
    async with twin(f"127.0.0.1:{gateway.grpc_port}", timeout_seconds=0.1) as hasty:
        with pytest.raises(DeadlineExceeded) as late:
            await hasty.predict(IMAGE, model="tiny")
    engine.gate.set()

    assert late.value.code == "DEADLINE_EXCEEDED"


async def test_a_full_queue_says_when_to_come_back(tmp_path: Path, engine: FakeEngine, twin: Any) -> None:
    limits = {"max_queue_size": 4, "max_request_examples": 4}
    async with (
        running_gateway([make_archive(tmp_path)], engine, **limits) as gateway,
        twin(f"127.0.0.1:{gateway.grpc_port}") as client,
    ):
        engine.hold()
        waiting = [asyncio.create_task(client.predict(IMAGE, model="tiny"))]
        await engine.entered.wait()
        waiting.append(asyncio.create_task(client.predict(np.stack([IMAGE] * 4), model="tiny")))
        await until(lambda: gateway.repository.resolve("tiny", "").batcher.queued_examples == 4)
        with pytest.raises(Overloaded) as full:
            await client.predict(IMAGE, model="tiny")
        engine.gate.set()
        await asyncio.gather(*waiting)

    assert full.value.retry_after_seconds > 0


@dataclass
class AwayAtFirst(FakeEngine):
    """Away for so many batches. tries: batches that came, answered or not."""

    away: int = 0
    tries: int = 0

    async def load(self, archive: Archive) -> FakeModel:
        return AwayModel(self, archive)


@dataclass
class AwayModel(FakeModel):
    """One loaded version of it."""

    engine: AwayAtFirst

    async def infer(self, batch: np.ndarray) -> np.ndarray:
        self.engine.tries += 1
        if self.engine.tries <= self.engine.away:
            raise EngineUnavailable("away for a moment")
        return await super().infer(batch)


@pytest.mark.parametrize(("max_attempts", "is_answered"), [(1, False), (2, False), (3, True)])
async def test_what_is_unavailable_is_tried_again_with_the_same_id(
    tmp_path: Path, twin: Any, max_attempts: int, *, is_answered: bool
) -> None:
    engine = AwayAtFirst()
    async with (
        running_gateway([make_archive(tmp_path)], engine) as gateway,
        twin(f"127.0.0.1:{gateway.grpc_port}", max_attempts=max_attempts) as client,
    ):
        engine.tries, engine.away = 0, 2
        if is_answered:
            reply = await client.predict(IMAGE, model="tiny", request_id="order-7")
            assert reply.receipt.request_id == "order-7"
        else:
            with pytest.raises(Unavailable, match="away") as away:
                await client.predict(IMAGE, model="tiny", request_id="order-7")
            assert (away.value.request_id, away.value.retry_after_seconds) == ("order-7", 1.0)
            assert not away.value.is_unreachable

    assert engine.tries == max_attempts


async def test_where_nobody_listens_the_gateway_is_unreachable(twin: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with twin(f"127.0.0.1:{taken.getsockname()[1]}", max_attempts=1) as client:
            with pytest.raises(Unavailable) as gone:
                await client.models()

    assert gone.value.is_unreachable
    assert isinstance(gone.value, PredictionError)


@pytest.mark.parametrize("attempts", [0, 6])
async def test_an_impossible_number_of_attempts_is_a_value_error(twin: Any, attempts: int) -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        twin("127.0.0.1:1", max_attempts=attempts)
