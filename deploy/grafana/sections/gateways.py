"""Panels of gateways as processes, of their clients and their GPU."""

from __future__ import annotations

from deploy.grafana.panel import GATEWAY, STEP, Panel, Query, quantile, rate

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
        "Tasks", "short", "Of asyncio. They follow the requests in flight, the streams and the connections.",
        (Query(f"seqserve_event_loop_tasks{{{GATEWAY}}}", "{{instance}}"),),
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
        "Running for", "s", "Since each gateway's process started. Steps down are restarts.",
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
