"""Panels of the queue, and of the batches that are made of it."""

from __future__ import annotations

from deploy.grafana.panel import GATEWAY, MODEL, Panel, Query, mean, rate

ANY = 1e-9
"""Of a rate: 0 is well, and all above it is not."""

QUEUE = (
    Panel(
        "Examples in a batch, mean", "short", "1 without load, near max_batch_size at saturation.",
        (Query(mean("seqserve_batch_examples", "model"), "{{model}}"),), is_drawn=True,
    ),
    Panel(
        "Batches by what sealed them", "ops",
        "Mostly idle: there is room. Mostly full: the engine is saturated, or max_batch_size is too small.",
        (Query(rate("seqserve_batches_total", "reason"), "{{reason}}"),), is_stacked=True, is_drawn=True,
    ),
    Panel(
        "Examples that wait", "short", "Now, for a batch. At max_queue_size requests are refused.",
        (Query(f"sum by (model) (seqserve_queued_examples{{{MODEL}}})", "{{model}}"),), is_stacked=True, is_drawn=True,
    ),
    Panel(
        "Work that waits", "s", "How long it takes to compute what is queued. SeqserveQueueSaturated fires at 0.5 s.",
        (Query(f"seqserve:queue_drain_seconds:ratio5m{{{MODEL}}}", "{{model}} {{instance}}"),), red_above=0.5,
    ),
    Panel(
        "Wait for a batch, p90", "s", "By gateway, of the model that waits longest.",
        (Query(f"seqserve:queue_seconds:p90_max{{{GATEWAY}}}", "{{instance}}"),),
    ),
    Panel(
        "Refused examples by cause", "short",
        "Examples a second that were not admitted. full and deadline: add capacity. overdue and away: a batch hangs, or the "
        "engine is away.",
        (Query(rate("seqserve_refused_examples_total", "cause"), "{{cause}}"),), is_drawn=True,
    ),
    Panel(
        "Share of examples refused", "percentunit", "For want of room. SeqserveRequestsRefused fires at 1 %.",
        (Query('seqserve:refused_examples:ratio_rate5m{model=~"$model"}', "{{model}}"),), 6, red_above=0.01,
    ),
    Panel(
        "Dropped examples by cause", "short",
        "Admitted, and left the queue uncomputed. expired: deadlines are too short. departed: callers give up.",
        (Query(rate("seqserve_dropped_examples_total", "cause"), "{{cause}}"),), 6, is_drawn=True,
    ),
    Panel(
        "Batches that failed", "ops", "A second. Any is worth a look at the log: all of its callers got an error.",
        (Query(rate("seqserve_failed_batches_total", "model"), "{{model}}"),), 6, red_above=ANY,
    ),
    Panel(
        "Batches that hang", "short", "Now, each in a compute slot; its version is not ready. See SeqserveBatchesHang.",
        (Query(f"seqserve:hanging_batches:sum{{{MODEL}}}", "{{model}} on {{instance}}"),), 6, red_above=1,
    ),
)  # fmt: skip
