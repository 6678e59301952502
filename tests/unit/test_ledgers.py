"""Ledgers outlive their versions, for a while."""

from __future__ import annotations

from dataclasses import dataclass

from seqserve.batching.ledgers import BatchCounts, RequestCounts, VersionCounts
from seqserve.metrics.rows import EXAMPLES, SECONDS
from seqserve.metrics.table import KEPT_VERSIONS
from seqserve.native_front.ledgers import Ledgers
from seqserve.repository.versions import ModelState, ModelVersion
from support.counts import batch_counts, request_counts


@dataclass
class FakeBatches:
    """Has always seen one full batch."""

    bounds: tuple[list[int], list[int]]

    def read(self) -> BatchCounts:
        return batch_counts(reasons={"full": 1})


@dataclass
class FakeRequests:
    """Has answered what a test says."""

    bounds: list[int]
    answered: int = 0

    def read(self) -> RequestCounts:
        return request_counts(examples=self.answered)


def make() -> tuple[Ledgers[FakeBatches, FakeRequests], list[VersionCounts]]:
    forgotten: list[VersionCounts] = []
    ledgers = Ledgers(lambda *bounds: FakeBatches(bounds), FakeRequests, forgotten.append)
    return ledgers, forgotten


def test_a_version_that_is_loaded_again_goes_on_counting() -> None:
    ledgers, _ = make()
    ledgers.of("tiny", "1").requests.answered = 5
    assert ledgers.of("tiny", "1").requests.answered == 5
    assert ledgers.of("tiny", "2").requests.answered == 0
    counts = ledgers.read()
    assert [(each.model, each.version, each.requests["examples"]) for each in counts] == [
        ("tiny", "1", 5),
        ("tiny", "2", 0),
    ]


def test_ledgers_have_the_buckets_of_the_metrics() -> None:
    ledgers, _ = make()
    found = ledgers.of("tiny", "1")
    assert found.batches.bounds == (found.requests.bounds, list(EXAMPLES))
    assert [bound / 1e9 for bound in found.requests.bounds] == list(SECONDS)


async def test_what_has_been_gone_for_long_is_forgotten_with_its_last_counts() -> None:
    ledgers, forgotten = make()
    versions = [str(number) for number in range(KEPT_VERSIONS + 1)]
    for version in versions:
        ledgers.of("tiny", version).requests.answered = 7
        await ledgers.follow(ModelVersion("tiny", version, state=ModelState.UNLOADED))
    await ledgers.follow(ModelVersion("never", "1", state=ModelState.FAILED))
    await ledgers.follow(ModelVersion("tiny", "2", state=ModelState.READY))
    assert [(each.version, each.requests["examples"]) for each in forgotten] == [("0", 7), ("1", 7)]
    assert [each.version for each in ledgers.read()] == versions[2:]
