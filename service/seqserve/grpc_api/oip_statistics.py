"""Our counters as messages of OIP's statistics extension."""

from __future__ import annotations

from collections.abc import Sequence

from seqserve.pb import inference_pb2 as pb
from seqserve.statistics import BatchStatistics, Duration, VersionStatistics


def statistics_reply(versions: Sequence[VersionStatistics]) -> pb.ModelStatisticsResponse:
    """Each version's counters as they stand now."""
    return pb.ModelStatisticsResponse(model_stats=[_version(counters) for counters in versions])


def _version(counters: VersionStatistics) -> pb.ModelStatistics:
    return pb.ModelStatistics(
        name=counters.name,
        version=counters.version,
        last_inference=counters.last_inference_ms,
        inference_count=counters.inference_count,
        execution_count=counters.execution_count,
        inference_stats=pb.InferStatistics(
            success=_duration(counters.success),
            fail=_duration(counters.fail),
            queue=_duration(counters.queue),
            compute_input=_duration(counters.compute_input),
            compute_infer=_duration(counters.compute_infer),
            compute_output=_duration(counters.compute_output),
        ),
        batch_stats=[_batch(size, batch) for size, batch in sorted(counters.batches.items())],
    )


def _batch(size: int, batch: BatchStatistics) -> pb.InferBatchStatistics:
    return pb.InferBatchStatistics(
        batch_size=size,
        compute_input=_duration(batch.compute_input),
        compute_infer=_duration(batch.compute_infer),
        compute_output=_duration(batch.compute_output),
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)
