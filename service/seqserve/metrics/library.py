"""What prometheus_client measures by itself: the process and Python's garbage collector."""

from __future__ import annotations

from seqserve.metrics.rows import MetricRow

LIBRARY: tuple[MetricRow, ...] = (
    MetricRow(
        "process_cpu_seconds_total",
        "CPU time of the gateway's process, user and system.",
        "Its rate is the number of cores in use; at the limit of the cgroup everything waits.",
        unit="seconds",
        kind="counter",
    ),
    MetricRow(
        "process_resident_memory_bytes",
        "Memory that is in use.",
        "Growth over hours at equal load and equal models is a leak.",
        unit="bytes",
    ),
    MetricRow("process_virtual_memory_bytes", "Address space.", "Little; CUDA reserves a lot.", unit="bytes"),
    MetricRow(
        "process_start_time_seconds",
        "When the process started, since the epoch.",
        "Changes are restarts.",
        unit="seconds",
    ),
    MetricRow(
        "process_open_fds",
        "Open files and connections.",
        "Near process_max_fds no connection can be taken.",
    ),
    MetricRow("process_max_fds", "How many may be open.", "Raise it for thousands of connections."),
    MetricRow(
        "python_gc_objects_collected_total",
        "Objects that Python's garbage collector freed.",
        "Steps at equal load: something makes reference cycles.",
        ("generation",),
        kind="counter",
    ),
    MetricRow(
        "python_gc_objects_uncollectable_total",
        "Objects that it could not free.",
        "Any growth is a leak.",
        ("generation",),
        kind="counter",
    ),
    MetricRow(
        "python_gc_collections_total",
        "Its runs.",
        "Generation 2 stops the gateway for milliseconds; it should be rare.",
        ("generation",),
        kind="counter",
    ),
)
