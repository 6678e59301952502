"""What the dashboard shows: sections of panels, each with its queries, its unit and what to look for.

`$instance` and `$model` are the dashboard's variables; `$__rate_interval` is Grafana's, at least four scrapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["timeseries", "stat", "table", "state-timeline"]

GATEWAY = 'instance=~"$instance"'
MODEL = f'{GATEWAY}, model=~"$model"'
STEP = "[$__rate_interval]"
FAILED = 'code=~"UNAVAILABLE|INTERNAL|UNKNOWN|DATA_LOSS|DEADLINE_EXCEEDED"'


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and the name of each of its series, with `{{label}}` for values of labels."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. unit: as Grafana calls it. width: of 24. red_above: values that are drawn as bad.

    is_stacked: whether its series add up to something. is_drawn: whether plot.py draws it.
    """

    title: str
    unit: str
    description: str
    queries: tuple[Query, ...]
    width: int = 8
    kind: Kind = "timeseries"
    is_stacked: bool = False
    red_above: float | None = None
    is_drawn: bool = False


def rate(metric: str, by: str, matchers: str = MODEL) -> str:
    """How fast counters grow, summed over all labels but some."""
    return f"sum by ({by}) (rate({metric}{{{matchers}}}{STEP}))"


def quantile(share: float, metric: str, matchers: str = MODEL, by: str = "") -> str:
    """Of a histogram, over all gateways and models that are chosen."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{matchers}}}{STEP})))"


def mean(metric: str, by: str, matchers: str = MODEL) -> str:
    """Of what a histogram has observed."""
    return f"{rate(metric + '_sum', by, matchers)} / {rate(metric + '_count', by, matchers)}"


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
        "Share of the calls that ended UNAVAILABLE, INTERNAL, UNKNOWN, DATA_LOSS or DEADLINE_EXCEEDED. The promise is 0.1 % "
        "over 30 days.",
        (
            Query(
                f"(sum(rate(seqserve_requests_total{{{MODEL}, {FAILED}}}{STEP})) or vector(0)) "
                f"/ sum(rate(seqserve_requests_total{{{MODEL}}}{STEP}))",
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
        "Alerts", "short", "Alerts of this gateway that fire now; docs/monitoring.md says what to do about each.",
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
        "By our fault, over five minutes and over an hour. 1.44 % in both wakes somebody: SeqserveErrorBudgetBurnsFast.",
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
        (Query('seqserve:refused_examples:ratio_rate5m{model=~"$model"}', "{{model}}"),), red_above=0.01,
    ),
    Panel(
        "Dropped examples by cause", "short",
        "Admitted, and left the queue uncomputed. expired: deadlines are too short. departed: callers give up.",
        (Query(rate("seqserve_dropped_examples_total", "cause"), "{{cause}}"),), is_drawn=True,
    ),
    Panel(
        "Batches that failed or hang", "short",
        "Failed: a second. Hanging: now, each in a compute slot. Any is worth a look at the log.",
        (
            Query(rate("seqserve_failed_batches_total", "model"), "{{model}} failed"),
            Query(f"seqserve:hanging_batches:sum{{{MODEL}}}", "{{model}} hang on {{instance}}"),
        ),
        red_above=1,
    ),
)  # fmt: skip

MODELS = (
    Panel(
        "State of each version", "short", "0 loading, 1 ready, 2 stalled (a batch hangs), 3 unloading, 4 unloaded, 5 failed.",
        (
            Query(
                "sum by (instance, model, version) ("
                + " or ".join(
                    f'{number} * seqserve_model_state{{{MODEL}, state="{state}"}}'
                    for number, state in enumerate(("ready", "stalled", "unloading", "unloaded", "failed"), 1)
                )
                + ")",
                "{{model}} {{version}} {{instance}}",
            ),
        ),
        12, "state-timeline",
    ),
    Panel(
        "Labels", "short", "Which version a label points to.",
        (Query(f"max by (model, label, version) (seqserve_model_label{{{MODEL}}})", ""),), 6, "table",
    ),
    Panel(
        "Versions that are ready", "short", "By model and gateway. 0: its callers get UNAVAILABLE.",
        (Query(f"seqserve_ready_versions{{{MODEL}}}", "{{model}} {{instance}}"),), 6,
    ),
    Panel(
        "Reloads", "short", "Versions since the gateways started, by what came of them. refused: the log has the reason.",
        (Query(f"sum by (model, result) (seqserve_reloads_total{{{MODEL}}})", "{{model}} {{result}}"),), is_drawn=True,
    ),
    Panel(
        "Golden checks", "short", "At loading: does a copy answer as the eager model did? failed: it is refused there.",
        (Query(f"sum by (result) (seqserve_golden_checks_total{{{MODEL}}})", "{{result}}"),),
    ),
    Panel(
        "Largest difference from the golden outputs", "short",
        "0 or a few 1e-7 on a CPU; much more hints at another device, another library or TF32.",
        (Query(f"max by (model, version) (seqserve_golden_delta{{{MODEL}}})", "{{model}} {{version}}"),),
    ),
)  # fmt: skip

CLIENTS = (
    Panel(
        "Calls by client", "reqps", "Who makes the load. Nothing as long as no client is configured.",
        (Query(rate("seqserve_client_requests_total", "client", GATEWAY), "{{client}}"),), is_stacked=True,
    ),
    Panel(
        "Calls turned away", "reqps",
        "unauthenticated: somebody guesses, or a rotation left a client behind. concurrency and rate: a client's own limits.",
        (Query(rate("seqserve_access_refusals_total", "client, reason", GATEWAY), "{{client}} {{reason}}"),),
    ),
    Panel(
        "HTTP connections that were one too many", "cps", "Closed a second, since there were max_http_connections.",
        (Query(rate("seqserve_refused_connections_total", "instance", GATEWAY), "{{instance}}"),),
    ),
)  # fmt: skip

PROCESS = (
    Panel(
        "CPU", "short", "Cores in use. At the limit of the cgroup everything waits.",
        (Query(f'rate(process_cpu_seconds_total{{job=~".*seqserve.*", {GATEWAY}}}{STEP})', "{{instance}}"),), is_drawn=True,
    ),
    Panel(
        "Memory", "bytes", "In use. Growth over hours at equal load and equal models is a leak.",
        (Query(f'process_resident_memory_bytes{{job=~".*seqserve.*", {GATEWAY}}}', "{{instance}}"),), is_drawn=True,
    ),
    Panel(
        "Open files", "percentunit", "Of those that the process may have. SeqserveFilesNearLimit fires at 80 %.",
        (
            Query(
                f'process_open_fds{{job=~".*seqserve.*", {GATEWAY}}} / process_max_fds{{job=~".*seqserve.*", {GATEWAY}}}',
                "{{instance}}",
            ),
        ),
        red_above=0.8,
    ),
    Panel(
        "Lag of the event loop, p99", "s", "How late a timer is. A few milliseconds; SeqserveEventLoopLag fires at 0.1 s.",
        (Query(quantile(0.99, "seqserve_event_loop_lag_seconds", GATEWAY, "instance"), "{{instance}}"),),
        red_above=0.1, is_drawn=True,
    ),
    Panel(
        "Garbage collections", "ops", "Generation 2 stops the gateway for milliseconds; it should be rare.",
        (
            Query(
                rate("python_gc_collections_total", "generation", f'job=~".*seqserve.*", {GATEWAY}'), "generation {{generation}}"
            ),
        ),
    ),
    Panel(
        "Running since", "s", "Steps down are restarts.",
        (Query(f'time() - process_start_time_seconds{{job=~".*seqserve.*", {GATEWAY}}}', "{{instance}}"),),
    ),
    Panel(
        "What runs", "short", "Version, front, engine, device, torch and Python of each gateway.",
        (Query(f"seqserve_build_info{{{GATEWAY}}}", ""),), 12, "table",
    ),
    Panel(
        "Changed files", "short", "Configurations and certificates since the gateways started. refused: the old ones hold.",
        (
            Query(f"sum by (result) (seqserve_config_reloads_total{{{GATEWAY}}})", "configuration {{result}}"),
            Query(f"sum by (result) (seqserve_tls_reloads_total{{{GATEWAY}}})", "certificate {{result}}"),
        ),
        6,
    ),
    Panel(
        "What remains of the certificate", "s", "With TLS alone. Alerts come at two weeks and at two days.",
        (Query(f"seqserve_tls_certificate_expiry_timestamp_seconds{{{GATEWAY}}} - time()", "{{instance}}"),), 6,
    ),
)  # fmt: skip

GPU = (
    Panel(
        "GPU memory", "percentunit", "In use by whatever program. Near 100 % batches fail for want of memory.",
        (
            Query(
                f"seqserve_gpu_memory_used_bytes{{{GATEWAY}}} / seqserve_gpu_memory_total_bytes{{{GATEWAY}}}",
                "{{device}} {{instance}}",
            ),
        ),
        red_above=0.95,
    ),
    Panel(
        "GPU use", "percentunit", "Share of time in which it computed. Low with a long queue: the gateway's CPU is the limit.",
        (Query(f"seqserve_gpu_utilization_ratio{{{GATEWAY}}}", "{{device}} {{instance}}"),),
    ),
    Panel(
        "Batches without memory", "short", "Since the gateways started. Their callers got RESOURCE_EXHAUSTED.",
        (Query(f"seqserve_out_of_memory_total{{{GATEWAY}}}", "{{instance}}"),), red_above=1,
    ),
)  # fmt: skip

TORCHSERVE = (
    Panel(
        "Restarts and drift", "short",
        "Since the gateways started: how often the managed TorchServe had ended, and what of it had to be put right.",
        (
            Query(f"seqserve_engine_restarts_total{{{GATEWAY}}}", "restarts {{instance}}"),
            Query(f"sum by (what) (seqserve_engine_drift_total{{{GATEWAY}}})", "drift: {{what}}"),
        ),
    ),
    Panel(
        "Calls of TorchServe", "reqps", "TorchServe's own count, relayed: of the gateway's batches, and of others' calls.",
        (
            Query(
                f'sum by (model_name, model_version) (rate(ts_inference_requests_total{{{GATEWAY}, model_name=~"$model"}}{STEP}))',
                "{{model_name}} {{model_version}}",
            ),
        ),
        is_stacked=True,
    ),
    Panel(
        "Answers of TorchServe", "reqps", "By class of HTTP status; its own health and management calls are among them.",
        tuple(Query(f"sum(rate(Requests{kind}XX{{{GATEWAY}}}{STEP}))", f"{kind}XX") for kind in (2, 4, 5)),
    ),
    Panel(
        "Time in a worker", "ms", "The latest prediction of each model, and what of it was passing it to the worker and back.",
        (
            Query(f'max by (ModelName) (PredictionTime{{{GATEWAY}, ModelName=~"$model"}})', "{{ModelName}}"),
            Query(f"max(WorkerThreadTime{{{GATEWAY}}})", "to the worker and back"),
        ),
    ),
    Panel(
        "Loading a worker", "ms", "How long each worker took to be ready, the last time.",
        (Query(f"max by (WorkerName) (WorkerLoadTime{{{GATEWAY}}})", "{{WorkerName}}"),),
    ),
)  # fmt: skip

SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Overview": OVERVIEW,
    "Traffic": TRAFFIC,
    "Latency": LATENCY,
    "Batches and the queue": QUEUE,
    "Models": MODELS,
    "Clients": CLIENTS,
    "The gateway itself": PROCESS,
    "The GPU": GPU,
    "TorchServe behind the gateway": TORCHSERVE,
}
"""Headings and the panels below each, in their order."""


def panels() -> Iterator[Panel]:
    """All of them, in their order."""
    for section in SECTIONS.values():
        yield from section
