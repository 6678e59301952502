"""Our counters as documents of the statistics extension."""

from __future__ import annotations

from collections.abc import Sequence

from seqserve.http_api.documents import (
    DurationDocument,
    InferBatchStatistics,
    InferStatistics,
    ModelStatistics,
    StatisticsReply,
)
from seqserve.statistics import BatchStatistics, Duration, VersionStatistics


def statistics_reply(versions: Sequence[VersionStatistics]) -> StatisticsReply:
    """Each version's counters as they stand now."""
    return StatisticsReply(model_stats=[_version(counters) for counters in versions])


def _version(counters: VersionStatistics) -> ModelStatistics:
    return ModelStatistics(
        name=counters.name,
        version=counters.version,
        last_inference=counters.last_inference_ms,
        inference_count=counters.inference_count,
        execution_count=counters.execution_count,
        inference_stats=InferStatistics(
            success=_duration(counters.success),
            fail=_duration(counters.fail),
            queue=_duration(counters.queue),
            compute_input=_duration(counters.compute_input),
            compute_infer=_duration(counters.compute_infer),
            compute_output=_duration(counters.compute_output),
        ),
        batch_stats=[_batch(size, batch) for size, batch in sorted(counters.batches.items())],
    )


def _batch(size: int, batch: BatchStatistics) -> InferBatchStatistics:
    return InferBatchStatistics(
        batch_size=size,
        compute_input=_duration(batch.compute_input),
        compute_infer=_duration(batch.compute_infer),
        compute_output=_duration(batch.compute_output),
    )


def _duration(duration: Duration) -> DurationDocument:
    return DurationDocument(count=duration.count, ns=duration.ns)
