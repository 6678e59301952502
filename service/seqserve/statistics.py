"""What became of each version's requests, in the counters of Triton's statistics extension.

All of them are cumulative; a version that is loaded again goes on counting, unless hundreds of others
have left since. Source: Triton's statistics extension of the Open Inference Protocol.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field

from seqserve.batching.ledgers import BatchCounts, ReadCounts, RequestCounts, VersionCounts, no_counts
from seqserve.batching.observers import Phases, VersionObserver
from seqserve.repository.versions import ModelState, ModelVersion

KEPT_VERSIONS = 256
"""Versions that are gone and keep their counters, in case that they come back."""


@dataclass(slots=True)
class Duration:
    """How often something happened, and how long all of it took."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        """Once more."""
        self.add_all(1, round(seconds * 1e9))

    def add_all(self, count: int, ns: int) -> None:
        """So often more, and so long in all."""
        self.count += count
        self.ns += ns


@dataclass(slots=True)
class BatchStatistics:
    """All batches of one size."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class VersionStatistics(VersionObserver):
    """One version's counters.

    last_inference_ms: since the epoch; 0 before the first. inference_count: examples answered.
    execution_count: batches. success, fail: requests, from decoding to the checked answer.
    """

    name: str
    version: str
    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, BatchStatistics] = field(default_factory=dict)

    def request_answered(self, examples: int, phases: Phases) -> None:
        """See VersionObserver."""
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.inference_count += examples
        self.success.add(phases.total_seconds)
        self.queue.add(phases.queue_seconds)
        self.compute_input.add(phases.decode_seconds)
        self.compute_infer.add(phases.compute_seconds)
        # Its time follows, its count does not: perf_analyzer wants all counts the same at any moment.
        self.compute_output.count += 1

    def request_encoded(self, seconds: float) -> None:
        """See VersionObserver."""
        self.compute_output.ns += round(seconds * 1e9)

    def request_failed(self, seconds: float, code: str) -> None:  # noqa: ARG002 - as declared
        """See VersionObserver."""
        self.fail.add(seconds)

    def batch_computed(
        self, examples: int, assembly_seconds: float, compute_seconds: float, split_seconds: float
    ) -> None:
        """See VersionObserver."""
        self.execution_count += 1
        batch = self._of_size(examples)
        batch.compute_input.add(assembly_seconds)
        batch.compute_infer.add(compute_seconds)
        batch.compute_output.add(split_seconds)

    def add_counts(self, batches: BatchCounts, requests: RequestCounts) -> None:
        """What a queue outside of Python has counted."""
        self.last_inference_ms = max(self.last_inference_ms, requests["answered_at_ms"])
        self.inference_count += requests["examples"]
        self.fail.add_all(requests["failed"], requests["failed_ns"])
        # One count for all: perf_analyzer wants them the same at any moment.
        answered = sum(requests["request"][0])
        self.success.add_all(answered, requests["request"][1])
        self.queue.add_all(answered, requests["queue"][1])
        self.compute_input.add_all(answered, requests["decode"][1])
        self.compute_infer.add_all(answered, requests["compute_ns"])
        self.compute_output.add_all(answered, requests["encode"][1])
        for examples, (count, assembly_ns, compute_ns, split_ns) in batches["by_size"].items():
            self.execution_count += count
            batch = self._of_size(examples)
            batch.compute_input.add_all(count, assembly_ns)
            batch.compute_infer.add_all(count, compute_ns)
            batch.compute_output.add_all(count, split_ns)

    def _of_size(self, examples: int) -> BatchStatistics:
        batch = self.batches.get(examples)
        if batch is None:
            batch = self.batches[examples] = BatchStatistics()
        return batch


class Statistics:
    """The counters of every version that serves, and of those that did not long ago.

    read_counts: what is to be added to them, of a queue that counts for itself.
    """

    def __init__(self, read_counts: ReadCounts = no_counts) -> None:
        self._read_counts = read_counts
        self._versions: dict[tuple[str, str], VersionStatistics] = {}
        self._gone: OrderedDict[tuple[str, str], None] = OrderedDict()

    def of(self, name: str, version: str) -> VersionStatistics:
        """A version's counters, at zero for a new one."""
        return self._versions.setdefault((name, version), VersionStatistics(name, version))

    def find(self, versions: Iterable[ModelVersion]) -> list[VersionStatistics]:
        """Of each of these, at zero for those that never served."""
        keys = ((entry.name, entry.version) for entry in versions)
        found = {key: self._versions.get(key) or VersionStatistics(*key) for key in keys}
        for counts in self._read_counts():
            key = (counts.model, counts.version)
            if key in found:
                found[key] = deepcopy(found[key])
                found[key].add_counts(counts.batches, counts.requests)
        return list(found.values())

    def keep(self, counts: VersionCounts) -> None:
        """The last counts of a version that is read no more."""
        self.of(counts.model, counts.version).add_counts(counts.batches, counts.requests)

    async def follow(self, changed: ModelVersion) -> None:
        """A listener of the repository: of what is gone, only the last KEPT_VERSIONS are kept."""
        key = (changed.name, changed.version)
        self._gone.pop(key, None)
        if changed.state in {ModelState.UNLOADED, ModelState.FAILED}:
            self._gone[key] = None
            if len(self._gone) > KEPT_VERSIONS:
                self._versions.pop(self._gone.popitem(last=False)[0], None)
