"""Panels of calls: at a glance, how many, how they ended, how long they took."""

from __future__ import annotations

from deploy.grafana.panel import COUNTED, FAILED, GATEWAY, MODEL, STEP, Panel, Query, quantile, rate

OVERVIEW = (
    Panel(
        "Gateways that answer", "short",
        "Targets that Prometheus could scrape. Fewer than you started: see the alert SeqserveGatewayDown.",
        (Query(f'sum(up{{job=~".*seqserve.*", {GATEWAY}}})', "up"),), 4, "stat",
    ),
    Panel(
        "Calls", "reqps", "Inference calls a second, whichever API they came by and however they ended.",
        (Query(f"sum(rate(seqserve_requests_total{{{MODEL}}}{STEP}))", "calls"),), 4, "stat",
    ),
    Panel(
        "Failed by our fault", "percentunit",
        "Calls that ended UNAVAILABLE, INTERNAL, UNKNOWN, DATA_LOSS or DEADLINE_EXCEEDED, of those and the OK. The promise is "
        "0.1 % over 30 days.",
        (
            Query(
                f"(sum(rate(seqserve_requests_total{{{MODEL}, {FAILED}}}{STEP})) or vector(0)) "
                f"/ sum(rate(seqserve_requests_total{{{MODEL}, {COUNTED}}}{STEP}))",
                "failed",
            ),
        ),
        4, "stat", red_above=0.001,
    ),
    Panel(
        "p99", "s", "99 of 100 answered calls took no longer, from their decoding to their checked answer.",
        (Query(quantile(0.99, "seqserve_request_seconds"), "p99"),), 4, "stat", red_above=0.25,
    ),
    Panel(
        "Versions that are ready", "short", "Of all models and gateways that are chosen.",
        (Query(f"sum(seqserve_ready_versions{{{MODEL}}})", "ready"),), 4, "stat",
    ),
    Panel(
        "Alerts", "short", "Those of all gateways and models that fire now, whichever are chosen; docs/monitoring.md says what to do about each.",
        (Query('count(ALERTS{alertname=~"Seqserve.+", alertstate="firing"}) or vector(0)', "firing"),),
        4, "stat", red_above=1,
    ),
)  # fmt: skip


TRAFFIC = (
    Panel(
        "Calls by model", "reqps",
        "Calls a second. Model `unknown`: names that are not in the repository, and what cannot be parsed.",
        (Query(rate("seqserve_requests_total", "model"), "{{model}}"),), is_stacked=True, is_drawn=True,
    ),
    Panel(
        "Calls that were not OK, by code", "reqps",
        "INVALID_ARGUMENT and NOT_FOUND are the callers' doing, RESOURCE_EXHAUSTED is load, UNAVAILABLE, INTERNAL and "
        "DEADLINE_EXCEEDED are ours.",
        (Query(rate("seqserve_requests_total", "code", f'{MODEL}, code!="OK"'), "{{code}}"),), is_drawn=True,
    ),
    Panel(
        "Share of calls that failed", "percentunit",
        "By our fault, of those and the OK, over five minutes and over an hour. 1.44 % in both wakes somebody: SeqserveErrorBudgetBurnsFast.",
        (
            Query('seqserve:failed_calls:ratio_rate5m{model=~"$model"}', "{{model}} 5 min"),
            Query('seqserve:failed_calls:ratio_rate1h{model=~"$model"}', "{{model}} 1 h"),
        ),
        red_above=0.0144,
    ),
    Panel(
        "Examples computed", "short", "Examples a second: a call may carry many.",
        (Query(rate("seqserve_batch_examples_sum", "model"), "{{model}}"),), is_stacked=True, is_drawn=True,
    ),
    Panel(
        "Calls in flight, mean", "short",
        "Bound to a version, and not answered yet: the seconds that calls took, a second. A measure to scale by. The gauge "
        "seqserve_requests_in_flight is read between two batches, and shows fewer.",
        (Query(rate("seqserve_request_seconds_sum", "model"), "{{model}}"),), is_stacked=True, is_drawn=True,
    ),
    Panel(
        "Calls by gateway", "reqps", "Unequal: the load is not spread.",
        (Query(rate("seqserve_requests_total", "instance"), "{{instance}}"),),
    ),
)  # fmt: skip


LATENCY = (
    Panel(
        "Time of a call", "s", "Of answered calls. SeqserveLatencyHigh looks at p99.",
        tuple(Query(quantile(share, "seqserve_request_seconds"), f"p{share * 100:g}") for share in (0.5, 0.9, 0.99)),
        red_above=0.25, is_drawn=True,
    ),
    Panel(
        "Phases, p99", "s",
        "Where the time of a call goes. Queue well above compute: the engine is the limit. They do not add up: assembly and "
        "compute are measured once a batch.",
        tuple(
            Query(quantile(0.99, f"seqserve_{phase}_seconds"), phase)
            for phase in ("decode", "queue", "assembly", "compute", "encode")
        ),
        is_drawn=True,
    ),
    Panel(
        "Phases, mean", "s", "The same as means, which show what the usual call costs.",
        tuple(
            Query(
                f"sum(rate(seqserve_{phase}_seconds_sum{{{MODEL}}}{STEP})) "
                f"/ sum(rate(seqserve_{phase}_seconds_count{{{MODEL}}}{STEP}))",
                phase,
            )
            for phase in ("decode", "queue", "assembly", "compute", "encode")
        ),
    ),
    Panel(
        "p99 by model", "s", "Over all gateways, as the alert sees it.",
        (Query('seqserve:request_seconds:p99{model=~"$model"}', "{{model}}"),), red_above=0.25,
    ),
    Panel(
        "p99 by version", "s", "Compares a canary with what it is to replace.",
        (Query(quantile(0.99, "seqserve_request_seconds", by="model, version"), "{{model}} {{version}}"),),
    ),
    Panel(
        "Computing a batch, p99 by gateway", "s", "One that stands out has a throttled or shared device.",
        (Query(quantile(0.99, "seqserve_compute_seconds", by="instance"), "{{instance}}"),),
    ),
)  # fmt: skip
