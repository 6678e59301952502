"""Every metric that `/metrics` serves: its name, what it means, and what to look for in it.

The modules that measure make them from these rows, and page.py writes docs/metrics.md from
them: what is not here is neither served nor documented.

There is one histogram for each phase and none with a label `phase`. Some phases are measured once a
request and others once a batch, so a sum over such a label would mean nothing.
"""

from __future__ import annotations

from seqserve.metrics.library import LIBRARY
from seqserve.metrics.rows import CounterRow, GaugeRow, HistogramRow, InfoRow, MetricRow

VERSION = ("model", "version")

KEPT_VERSIONS = 8
"""Versions that are gone and keep their counters: scrapes miss nothing, and series do not pile up."""

REQUESTS = CounterRow(
    "seqserve_requests_total",
    "Inference requests by the gRPC status code of their answer, whichever API they came by.",
    "The share of codes other than OK, and which: INVALID_ARGUMENT is the callers' doing, "
    "RESOURCE_EXHAUSTED is load, UNAVAILABLE and INTERNAL are yours. Names that are not in the "
    "repository, and requests that do not parse, count as model `unknown`. An answer that does not fit "
    "into a message counts as OK: the model gave it. OK, UNAVAILABLE, INTERNAL, DEADLINE_EXCEEDED and "
    "RESOURCE_EXHAUSTED begin at 0 when a version is loaded, other codes at 1 with their first answer.",
    (*VERSION, "code"),
)
CLIENT_REQUESTS = CounterRow(
    "seqserve_client_requests_total",
    "Inference requests that were let in, by the client whose token they came with.",
    "Who makes the load. Nothing as long as no client is configured.",
    ("client",),
)
ACCESS_REFUSALS = CounterRow(
    "seqserve_access_refusals_total",
    "Calls that were turned away before anything of them was read, by client (`unknown` without a known "
    "token) and reason: unauthenticated, permission_denied, concurrency, rate.",
    "unauthenticated: somebody guesses, or a rotation has left a client behind. concurrency and rate: a "
    "client wants more than its section gives it.",
    ("client", "reason"),
)
REQUEST_SECONDS = HistogramRow(
    "seqserve_request_seconds",
    "An answered request, from its decoding to its checked answer.",
    "The tail (p99) against your promise. The phases below say where it comes from.",
    VERSION,
)
REQUESTS_IN_FLIGHT = GaugeRow(
    "seqserve_requests_in_flight",
    "Requests that are bound to a version and have no answer yet.",
    "Steady growth: more comes in than is answered. It says when a version may be unloaded.",
    VERSION,
)
DECODE_SECONDS = HistogramRow(
    "seqserve_decode_seconds",
    "Phase 1, once an answered request: from its message to checked rows.",
    "Pictures take milliseconds, tensors microseconds; growth at equal load means larger requests.",
    VERSION,
)
QUEUE_SECONDS = HistogramRow(
    "seqserve_queue_seconds",
    "Phase 2, once an answered request: its longest wait for a batch.",
    "The first to grow under load. Well above seqserve_compute_seconds, the engine is the limit.",
    VERSION,
)
ASSEMBLY_SECONDS = HistogramRow(
    "seqserve_assembly_seconds",
    "Phase 3, once a batch: gathering its rows into one array.",
    "Small against seqserve_compute_seconds; if not, the model is so light that copying counts.",
    VERSION,
)
COMPUTE_SECONDS = HistogramRow(
    "seqserve_compute_seconds",
    "Phase 4, once a batch: the engine's own time.",
    "A jump at equal batch sizes: a device that is throttled or shared.",
    VERSION,
)
ENCODE_SECONDS = HistogramRow(
    "seqserve_encode_seconds",
    "Phase 5, once an answered request: building and serializing the reply.",
    "Grows with the size of replies; asking for the top k classes makes them small.",
    VERSION,
)
BATCH_EXAMPLES = HistogramRow(
    "seqserve_batch_examples",
    "Examples in a batch.",
    "Its mean is 1 without load and nears max_batch_size at saturation. `_sum` counts all examples "
    "that were computed.",
    VERSION,
    "examples",
)
BATCHES = CounterRow(
    "seqserve_batches_total",
    "Batches by what sealed them: full, idle (the engine was free), delay, drain.",
    "Mostly idle: there is room. Mostly full: the engine is saturated, or max_batch_size is too small.",
    (*VERSION, "reason"),
)
FAILED_BATCHES = CounterRow(
    "seqserve_failed_batches_total",
    "Batches that the engine did not answer; all of their callers got an error.",
    "Any growth. The log has the reason.",
    VERSION,
)
OVERDUE_BATCHES = CounterRow(
    "seqserve_overdue_batches_total",
    "Batches that took longer than max_batch_seconds; their callers got DEADLINE_EXCEEDED.",
    "Any growth. Each holds a compute slot until it ends: minus seqserve_recovered_batches_total it is "
    "the number that hang now.",
    VERSION,
)
RECOVERED_BATCHES = CounterRow(
    "seqserve_recovered_batches_total",
    "Overdue batches that ended after all, with results or an error that nobody waits for.",
    "It catches up with seqserve_overdue_batches_total, or a device is stuck.",
    VERSION,
)
QUEUED_EXAMPLES = GaugeRow(
    "seqserve_queued_examples",
    "Examples that wait for a batch now.",
    "Near max_queue_size requests are refused. It is the measure to scale by.",
    VERSION,
    "examples",
)
DROPPED_EXAMPLES = CounterRow(
    "seqserve_dropped_examples_total",
    "Admitted examples that left the queue before a batch took them, by cause: departed (the caller "
    "left), expired (its deadline passed), failed (another part of the request failed), overdue (the "
    "version's batch hangs), away (its engine is), aborted.",
    "expired: deadlines are too short for the load. departed: callers give up, or close connections.",
    (*VERSION, "cause"),
    "examples",
)
REFUSED_EXAMPLES = CounterRow(
    "seqserve_refused_examples_total",
    "Examples that were not admitted, by cause: full (the queue), deadline (the queue would miss it), "
    "expired (it had passed), overdue (the version's batch hangs), away (its engine is), closing.",
    "full and deadline: add capacity; clients are told when to try again.",
    (*VERSION, "cause"),
    "examples",
)
MODEL_STATE = GaugeRow(
    "seqserve_model_state",
    "1 for the state a version is in, 0 for the others; only versions of the repository.",
    '`seqserve_model_state{state="failed"} == 1`: an archive was refused. The log says why.',
    (*VERSION, "state"),
)
READY_VERSIONS = GaugeRow(
    "seqserve_ready_versions",
    "How many versions of a model are ready.",
    "0: its callers get UNAVAILABLE.",
    ("model",),
)
MODEL_LABEL = GaugeRow(
    "seqserve_model_label",
    "Always 1: which version a label points to.",
    "What `stable` and your own labels mean now. Join it with other metrics on model and version.",
    ("model", "label", "version"),
)
RELOADS = CounterRow(
    "seqserve_reloads_total",
    "Versions that were loaded, refused or unloaded, those of the start included.",
    "refused: a new archive is broken or does not agree with its golden rows; the old one serves on.",
    ("model", "result"),
)
CONFIG_RELOADS = CounterRow(
    "seqserve_config_reloads_total",
    "Changes of the configuration file that were loaded or refused.",
    "refused: the file has a fault, and the old configuration holds.",
    ("result",),
)
TLS_CERTIFICATE_EXPIRY = GaugeRow(
    "seqserve_tls_certificate_expiry_timestamp_seconds",
    "When the certificate in use expires, since the epoch; served only with TLS.",
    "Less `time()` it is what remains. If it does not grow as you renew, the gateway refused the new one "
    "or never got it.",
    unit="seconds",
)
TLS_RELOADS = CounterRow(
    "seqserve_tls_reloads_total",
    "New certificates, keys or client CAs that were loaded or refused.",
    "refused: the new files have a fault, and the old ones serve on. The log says why.",
    ("result",),
)
ENGINE_RESTARTS = CounterRow(
    "seqserve_engine_restarts_total",
    "How often the managed TorchServe had ended and was started again.",
    "Any increase: its log, in torchserve_folder, says why. Its models are UNAVAILABLE meanwhile.",
)
ENGINE_DRIFT = CounterRow(
    "seqserve_engine_drift_total",
    "Differences between the managed TorchServe and what is loaded, by what was put right: missing, "
    "unexpected, default (version), workers.",
    "An increase: somebody else uses its management API.",
    ("what",),
)
GOLDEN_CHECKS = CounterRow(
    "seqserve_golden_checks_total",
    "Golden checks at loading by result, passed or failed: does a copy answer as the eager model did?",
    "failed: that version is refused on this device.",
    (*VERSION, "result"),
)
GOLDEN_DELTA = GaugeRow(
    "seqserve_golden_delta",
    "The largest difference from the golden outputs that the last check of a loaded version found.",
    "0 or a few 1e-7 on a CPU; much more hints at another device, another library or TF32.",
    VERSION,
)
EVENT_LOOP_LAG_SECONDS = HistogramRow(
    "seqserve_event_loop_lag_seconds",
    "How late a timer of the event loop is, once a second.",
    "A few milliseconds; up to 25 while a thread reads a long JSON body or writes `/metrics`, since "
    "they share one interpreter. More: something blocks the loop, or the gateway has too little CPU.",
)
EVENT_LOOP_TASKS = GaugeRow(
    "seqserve_event_loop_tasks",
    "Tasks of asyncio that have not ended, counted once a second.",
    "It follows the requests in flight, the streams and the connections. Growth without them is a leak.",
)
REFUSED_CONNECTIONS = CounterRow(
    "seqserve_refused_connections_total",
    "HTTP connections beyond max_http_connections, which were closed before anything was read.",
    "Any growth: callers that open a connection for each request, a limit that is too low, or a flood.",
)
OUT_OF_MEMORY = CounterRow(
    "seqserve_out_of_memory_total",
    "Batches for which a device had no memory; their callers got RESOURCE_EXHAUSTED.",
    "Any growth: fewer models, smaller batches, or nobody else on that GPU.",
)
GPU_MEMORY_USED_BYTES = GaugeRow(
    "seqserve_gpu_memory_used_bytes",
    "Memory in use on the GPU, by whatever program.",
    "Near seqserve_gpu_memory_total_bytes batches fail for want of memory.",
    ("device",),
    "bytes",
)
GPU_MEMORY_TOTAL_BYTES = GaugeRow(
    "seqserve_gpu_memory_total_bytes",
    "Memory of the GPU.",
    "What the metric above is compared with.",
    ("device",),
    "bytes",
)
GPU_UTILIZATION_RATIO = GaugeRow(
    "seqserve_gpu_utilization_ratio",
    "Share of the last sample period, 0 to 1, in which the GPU computed.",
    "Low with a long queue: the gateway's CPU is the limit. 1 says busy, not full.",
    ("device",),
)
BUILD = InfoRow(
    "seqserve_build_info",
    "What runs: version, python, engine, device, torch (empty where torch is not loaded), front.",
    "Join it with other metrics to compare before and after a roll-out.",
    ("version", "python", "engine", "device", "torch", "front"),
)

GPU: tuple[MetricRow, ...] = (GPU_MEMORY_USED_BYTES, GPU_MEMORY_TOTAL_BYTES, GPU_UTILIZATION_RATIO)
"""Served only where there is one."""

SECTIONS: dict[str, tuple[MetricRow, ...]] = {
    "Requests": (
        REQUESTS, REQUEST_SECONDS, REQUESTS_IN_FLIGHT, DECODE_SECONDS, QUEUE_SECONDS, ASSEMBLY_SECONDS,
        COMPUTE_SECONDS, ENCODE_SECONDS,
    ),
    "Batches and the queue": (
        BATCH_EXAMPLES, BATCHES, FAILED_BATCHES, OVERDUE_BATCHES, RECOVERED_BATCHES, QUEUED_EXAMPLES,
        DROPPED_EXAMPLES, REFUSED_EXAMPLES,
    ),
    "Models": (MODEL_STATE, READY_VERSIONS, MODEL_LABEL, RELOADS, GOLDEN_CHECKS, GOLDEN_DELTA),
    "TorchServe behind the gateway": (ENGINE_RESTARTS, ENGINE_DRIFT),
    "Clients": (CLIENT_REQUESTS, ACCESS_REFUSALS),
    "The gateway itself": (
        CONFIG_RELOADS, TLS_CERTIFICATE_EXPIRY, TLS_RELOADS, REFUSED_CONNECTIONS, OUT_OF_MEMORY,
        EVENT_LOOP_LAG_SECONDS, EVENT_LOOP_TASKS, BUILD, *LIBRARY,
    ),
    "The GPU": GPU,
}  # fmt: skip
"""Headings of the page, and the metrics below each, in their order."""


def rows() -> list[MetricRow]:
    """Every metric, in the page's order."""
    return [row for section in SECTIONS.values() for row in section]
