"""The counters of a version: what they count, that they only grow, and how they are found."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from seqserve.batching.observers import Phases
from seqserve.repository.versions import ModelState, ModelVersion
from seqserve.statistics import KEPT_VERSIONS, Duration, Statistics, VersionStatistics
from support.counts import batch_counts, request_counts, seconds, version_counts

Event = Callable[[VersionStatistics], None]

SECONDS = st.floats(min_value=0, max_value=100)
EXAMPLES = st.integers(min_value=1, max_value=8)
PHASES = st.builds(Phases, SECONDS, SECONDS, SECONDS, SECONDS)
EVENTS = st.lists(
    st.one_of(
        st.builds(lambda n, phases: lambda counters: counters.request_answered(n, phases), EXAMPLES, PHASES),
        st.builds(lambda seconds: lambda counters: counters.request_encoded(seconds), SECONDS),
        st.builds(lambda seconds: lambda counters: counters.request_failed(seconds, "INTERNAL"), SECONDS),
        st.builds(lambda n, a, b, c: lambda counters: counters.batch_computed(n, a, b, c), EXAMPLES, *[SECONDS] * 3),
    )
)  # fmt: skip


def numbers(counters: VersionStatistics) -> dict[str, int]:
    """Every counter by name."""
    found = {
        "last_inference_ms": counters.last_inference_ms,
        "inference_count": counters.inference_count,
        "execution_count": counters.execution_count,
    }
    for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        found |= _of_duration(name, getattr(counters, name))
    for size, batch in counters.batches.items():
        for name in ("compute_input", "compute_infer", "compute_output"):
            found |= _of_duration(f"{size}.{name}", getattr(batch, name))
    return found


def _of_duration(name: str, duration: Duration) -> dict[str, int]:
    return {f"{name}.count": duration.count, f"{name}.ns": duration.ns}


def test_answered_requests_count_their_examples_and_phases() -> None:
    counters = VersionStatistics("tiny", "1")
    counters.request_answered(3, Phases(1.0, 0.125, 0.25, 0.5))
    counters.request_answered(2, Phases(1.0, 0.125, 0.25, 0.5))

    assert counters.inference_count == 5
    assert counters.success == Duration(2, 2_000_000_000)
    assert counters.compute_input == Duration(2, 250_000_000)
    assert counters.queue == Duration(2, 500_000_000)
    assert counters.compute_infer == Duration(2, 1_000_000_000)
    assert counters.fail == Duration()
    assert counters.last_inference_ms > 0


def test_all_phases_have_the_same_count_before_and_after_encoding() -> None:
    counters = VersionStatistics("tiny", "1")
    counters.request_answered(3, Phases(1.0, 0.125, 0.25, 0.5))
    assert counters.compute_input.count == counters.compute_infer.count == counters.compute_output.count == 1

    counters.request_encoded(0.25)
    assert counters.compute_output == Duration(1, 250_000_000)


def test_batches_count_by_their_size() -> None:
    counters = VersionStatistics("tiny", "1")
    for size in (4, 1, 4):
        counters.batch_computed(size, 0.125, 0.5, 0.25)

    assert counters.execution_count == 3
    assert {size: batch.compute_infer.count for size, batch in counters.batches.items()} == {4: 2, 1: 1}
    assert counters.batches[4].compute_input == Duration(2, 250_000_000)
    assert counters.batches[4].compute_output == Duration(2, 500_000_000)


def test_failures_are_no_inferences() -> None:
    counters = VersionStatistics("tiny", "1")
    counters.request_failed(0.5, "INTERNAL")

    assert counters.fail == Duration(1, 500_000_000)
    assert (counters.inference_count, counters.last_inference_ms) == (0, 0)


@given(EVENTS)
def test_no_counter_ever_goes_back(events: list[Event]) -> None:
    counters = VersionStatistics("tiny", "1")
    before = numbers(counters)
    for event in events:
        event(counters)
        after = numbers(counters)
        assert all(after[name] >= before[name] for name in before)
        before = after

    assert counters.execution_count == sum(batch.compute_infer.count for batch in counters.batches.values())


def test_a_version_that_comes_back_goes_on_counting() -> None:
    statistics = Statistics()
    statistics.of("tiny", "1").request_failed(1.0, "INTERNAL")

    assert statistics.of("tiny", "1").fail.count == 1


async def test_counters_are_found_for_each_version_and_are_zero_for_one_that_never_served() -> None:
    statistics = Statistics()
    statistics.of("tiny", "1").request_failed(1.0, "INTERNAL")

    found = statistics.find([ModelVersion("tiny", "2"), ModelVersion("tiny", "1")])

    assert [(counters.version, counters.fail.count) for counters in found] == [("2", 0), ("1", 1)]


async def test_versions_that_left_long_ago_are_forgotten_and_those_that_serve_never() -> None:
    statistics = Statistics()
    serving, returned = ModelVersion("tiny", "1"), ModelVersion("tiny", "2")
    for version in (serving, returned):
        statistics.of("tiny", version.version).request_failed(1.0, "INTERNAL")
        await statistics.follow(version)
    for state in (ModelState.UNLOADED, ModelState.READY):
        returned.state = state
        await statistics.follow(returned)
    gone = [
        ModelVersion("tiny", str(number), state=ModelState.UNLOADED) for number in range(3, KEPT_VERSIONS + 5)
    ]
    for version in gone:
        statistics.of("tiny", version.version).request_failed(1.0, "INTERNAL")
        await statistics.follow(version)

    assert [counters.fail.count for counters in statistics.find([serving, returned])] == [1, 1]
    kept = [counters.fail.count for counters in statistics.find(gone)]
    assert kept == [0, 0] + [1] * KEPT_VERSIONS
    assert statistics.of("tiny", gone[-1].version).fail.count == 1


def of_tiny(statistics: Statistics) -> VersionStatistics:
    (found,) = statistics.find([ModelVersion("tiny", "1")])
    return found


def test_counts_of_a_queue_that_counts_for_itself_are_added_at_each_look() -> None:
    counts = version_counts(
        batches=batch_counts(by_size={3: (2, 10, 20, 30)}),
        requests=request_counts(
            request=seconds(0.5, 0.5), queue=seconds(0.25), decode=seconds(0.125), encode=seconds(1.0),
            compute_ns=77, examples=6, failed=1, failed_ns=9, answered_at_ms=1234,
        ),
    )  # fmt: skip
    statistics = Statistics(lambda: [counts, version_counts("2")])
    statistics.of("tiny", "1").batch_computed(3, 1e-9, 1e-9, 1e-9)
    statistics.of("tiny", "1").inference_count = 4
    for _ in range(2):
        found = numbers(of_tiny(statistics))
        assert found["inference_count"] == 10
        assert found["last_inference_ms"] == 1234
        assert found["execution_count"] == 3
        assert (found["3.compute_input.count"], found["3.compute_input.ns"]) == (3, 11)
        assert (found["3.compute_output.count"], found["3.compute_output.ns"]) == (3, 31)
        assert (found["success.count"], found["success.ns"]) == (2, 1_000_000_000)
        assert (found["queue.count"], found["queue.ns"]) == (2, 250_000_000)
        assert (found["compute_infer.count"], found["compute_infer.ns"]) == (2, 77)
        assert (found["fail.count"], found["fail.ns"]) == (1, 9)


def test_the_last_counts_of_a_queue_are_kept() -> None:
    statistics = Statistics()
    statistics.keep(version_counts(requests=request_counts(examples=6)))
    assert of_tiny(statistics).inference_count == 6
