"""The predictor: what counts as an answer, how batches are joined and split, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from seqserve.archive import read_archive
from seqserve.batching.observers import VersionObserver
from seqserve.decoding import PictureDecoder
from seqserve.errors import (
    DeadlineExceeded,
    EngineContractError,
    EngineUnavailable,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ShuttingDown,
)
from seqserve.metrics.counts import Metrics
from seqserve.predictor import Content, Predictor, Request, batch_runner, check_answers
from seqserve.repository.table import Repository
from seqserve.signature import Signature
from seqserve.tensors import RawTensor
from seqserve.trust import UNCHECKED
from support.archives import make_archive
from support.contract import signature_document
from support.engines import FakeEngine, FakeModel, FloatArray, expected_answers
from support.repositories import load_all

TINY = Signature.parse(signature_document("tiny_image"))  # probabilities [2]
LINE = Signature.parse(signature_document("line"))  # y [1]
ROWS = np.random.default_rng(0).random((9, 6), np.float32)


def rows(*values: Sequence[float]) -> FloatArray:
    return np.array(values, np.float32)


def tensor(values: FloatArray) -> Callable[[Signature], Content]:
    """What a protocol's adapter gives: a reader of the request."""
    return lambda signature: RawTensor(
        signature.input.name, "FP32", values.shape, values.astype("<f4").tobytes()
    )


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def predictor(tmp_path: Path, engine: FakeEngine, registry: CollectorRegistry) -> Predictor:
    """Over `tiny` 1, which takes batches of at most 4, and `line` 1."""
    repository = Repository()
    line = (np.full((1, 1), 0.5, np.float32), np.full((1, 1), 1.0, np.float32))
    archives = [make_archive(tmp_path), make_archive(tmp_path, "line", signature=LINE, golden=line)]
    await load_all(repository, archives, engine)
    engine.batches.clear()
    return Predictor(repository, Metrics(registry), max_request_examples=8, default_timeout_seconds=30.0)


def counted(registry: CollectorRegistry, code: str, model: str = "tiny", version: str = "1") -> float | None:
    labels = {"model": model, "version": version, "code": code}
    return registry.get_sample_value("seqserve_requests_total", labels)


@pytest.mark.parametrize("off", [0.0, 9e-4, -9e-4])
def test_probabilities_that_sum_to_about_one_pass(off: float) -> None:
    check_answers(rows([0.25, 0.75], [0.5, 0.5 + off]), TINY)


@pytest.mark.parametrize("value", [-1e9, 0.0, 3.7])
def test_values_of_a_regression_need_no_sum(value: float) -> None:
    check_answers(rows([value]), LINE)


@pytest.mark.parametrize(
    ("answered", "signature", "words"),
    [
        (rows([0.5, 0.5], [0.5, float("nan")]), TINY, "NaN or infinity"),
        (rows([0.5, float("inf")]), TINY, "NaN or infinity"),
        (rows([float("-inf")]), LINE, "NaN or infinity"),
        (rows([0.5, 0.5], [0.5, 0.502]), TINY, "sum of 1 by 0.002"),
        (rows([0.5, 0.498]), TINY, "sum of 1 by 0.002"),
        (rows([0.2, 0.3, 0.5]), TINY, r"shape \(3,\)"),
        (np.full((2, 1, 2), 0.5, np.float32), TINY, r"shape \(1, 2\)"),
        (np.full(2, 0.5, np.float32), TINY, r"shape \(\)"),
    ],
    ids=[
        "NaN in one row",
        "infinity",
        "infinity of a regression",
        "sum too large",
        "sum too small",
        "a class too many",
        "an axis too many",
        "no classes",
    ],
)
def test_nonsense_is_no_answer(answered: FloatArray, signature: Signature, words: str) -> None:
    with pytest.raises(EngineContractError, match=words):
        check_answers(answered, signature)


@pytest.fixture
def model(tmp_path: Path, engine: FakeEngine) -> FakeModel:
    return FakeModel(engine, read_archive(make_archive(tmp_path), UNCHECKED))


async def test_parts_travel_as_one_batch_and_come_back_as_they_were(
    model: FakeModel, engine: FakeEngine
) -> None:
    answers = await batch_runner(model, VersionObserver())([ROWS[:1], ROWS[1:4], ROWS[4:6]])

    assert engine.batches == [6]
    assert [len(answer) for answer in answers] == [1, 3, 2]
    np.testing.assert_array_equal(np.concatenate(answers), expected_answers(ROWS[:6], 2))


@pytest.mark.parametrize("count", [1, 3])
async def test_another_number_of_answers_is_refused(model: FakeModel, engine: FakeEngine, count: int) -> None:
    engine.wrong = np.full((count, 2), 0.5, np.float32)

    with pytest.raises(EngineContractError, match=f"{count} answers to 2 examples"):
        await batch_runner(model, VersionObserver())([ROWS[:1], ROWS[1:2]])


async def test_the_engines_own_fault_goes_through(model: FakeModel, engine: FakeEngine) -> None:
    engine.fault = EngineUnavailable("away")

    with pytest.raises(EngineUnavailable, match="away"):
        await batch_runner(model, VersionObserver())([ROWS[:1]])


async def test_a_request_larger_than_a_batch_is_split_and_rejoined_in_order(
    predictor: Predictor, engine: FakeEngine, registry: CollectorRegistry
) -> None:
    prediction = await predictor.predict(Request("tiny", "", tensor(ROWS[:7])))

    assert engine.batches == [4, 3]
    np.testing.assert_array_equal(prediction.rows, expected_answers(ROWS[:7], 2))
    assert (prediction.model, prediction.version) == ("tiny", "1")
    assert (prediction.receipt.batch_size, prediction.receipt.engine) == (4, "fake")
    assert counted(registry, "OK") == 1.0


async def test_what_the_signature_refuses_never_reaches_the_engine(
    predictor: Predictor, engine: FakeEngine, registry: CollectorRegistry
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await predictor.predict(Request("tiny", "1", tensor(ROWS)))

    assert refused.value.detail == "TOO_MANY_EXAMPLES"
    assert engine.batches == []
    assert counted(registry, "INVALID_ARGUMENT") == 1.0


@pytest.mark.parametrize(
    ("model", "files", "reason"),
    [
        ("line", [b"\x89PNG"], "DATATYPE_NOT_ACCEPTED"),
        ("tiny", [], "NO_EXAMPLES"),
        ("tiny", [b""] * 9, "TOO_MANY_EXAMPLES"),
    ],
    ids=["pictures for numbers", "no picture", "too many"],
)
async def test_pictures_are_refused_before_they_are_read(
    predictor: Predictor, model: str, files: list[bytes], reason: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await predictor.predict(Request(model, "", lambda _: files))

    assert refused.value.detail == reason


async def test_a_caller_whose_time_is_up_is_told_and_counted(
    predictor: Predictor, engine: FakeEngine, registry: CollectorRegistry
) -> None:
    engine.hold()

    with pytest.raises(DeadlineExceeded):
        await predictor.predict(Request("tiny", "", tensor(ROWS[:1]), timeout_seconds=0.0))

    engine.gate.set()
    assert counted(registry, "DEADLINE_EXCEEDED") == 1.0


async def test_a_caller_who_leaves_is_counted_as_cancelled(
    predictor: Predictor, engine: FakeEngine, registry: CollectorRegistry
) -> None:
    engine.hold()
    call = asyncio.create_task(predictor.predict(Request("tiny", "", tensor(ROWS[:1]))))
    await engine.entered.wait()

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    engine.gate.set()
    assert counted(registry, "CANCELLED") == 1.0


async def test_nonsense_and_unknown_names_are_counted_under_their_codes(
    predictor: Predictor, engine: FakeEngine, registry: CollectorRegistry
) -> None:
    engine.wrong = np.full((1, 2), 0.7, np.float32)
    with pytest.raises(EngineContractError):
        await predictor.predict(Request("tiny", "", tensor(ROWS[:1])))
    with pytest.raises(ModelNotFound):
        await predictor.predict(Request("made-up", "7", tensor(ROWS[:1])))

    assert counted(registry, "INTERNAL") == 1.0
    assert counted(registry, "NOT_FOUND", "unknown", "unknown") == 1.0


async def test_pictures_that_the_queue_has_no_room_for_are_not_decoded(
    tmp_path: Path, engine: FakeEngine, registry: CollectorRegistry
) -> None:
    """They would be refused afterwards: these bytes are no pictures, and nobody finds out."""
    repository = Repository()
    await load_all(repository, [make_archive(tmp_path)], engine)
    predictor = Predictor(repository, Metrics(registry), 8192, 30.0)

    with pytest.raises(Overloaded, match="would pass the limit"):
        await predictor.predict(Request("tiny", "", lambda _: [b""] * 5000))


async def test_pictures_wait_for_their_decoding_in_a_bounded_number(
    tmp_path: Path, engine: FakeEngine, registry: CollectorRegistry
) -> None:
    repository = Repository()
    await load_all(repository, [make_archive(tmp_path)], engine)
    predictor = Predictor(repository, Metrics(registry), 8, 30.0, decoder=PictureDecoder(3))

    with pytest.raises(Overloaded, match="wait to be decoded"):
        await predictor.predict(Request("tiny", "", lambda _: [b""] * 4))


async def test_behind_a_closed_door_no_request_is_taken(predictor: Predictor) -> None:
    await predictor.door.close(most_seconds=0)

    with pytest.raises(ShuttingDown):
        await predictor.predict(Request("tiny", "", tensor(ROWS[:1])))
    assert predictor.door.turned_away == 1
