"""Which modules of tests/integration run on which front; tests/unit/test_front_lists.py keeps this complete."""

from __future__ import annotations

BOTH_FRONTS = frozenset({
    "test_absence", "test_access", "test_cli", "test_client", "test_client_streams", "test_client_tokens",
    "test_client_turns", "test_concurrency", "test_connection_age", "test_connection_limits", "test_drain",
    "test_health_and_metrics", "test_health_port", "test_hostile_bytes", "test_hostile_errors",
    "test_hostile_http2", "test_hostile_listeners", "test_hostile_lists", "test_hostile_logs", "test_hostile_names",
    "test_hostile_shapes", "test_hot_reload", "test_native_front", "test_oip", "test_oip_canary",
    "test_oip_repository", "test_oip_statistics", "test_oip_stream", "test_predictions", "test_refusals",
    "test_reply_limit", "test_rest", "test_streams", "test_tls", "test_tls_rotation", "test_tracing",
    "test_tracing_logs", "test_tracing_receiver",
    "test_trusted_store",
})  # fmt: skip
"""Ask over the main gRPC port, or of what the front is part of: each front has to answer them alike."""

ONE_FRONT = {
    "test_fronts_agree": "runs both fronts in each test, to compare them",
    "test_fronts_count_alike": "runs both fronts in each test, to compare them",
    "test_fronts_end_alike": "runs both fronts in each test, to compare them",
    "test_grpc_listener": "the Python front's own server and its successor",
    "test_hostile_http": "hostile HTTP ends in the HTTP server, which is the same beside either front",
    "test_native_addresses": "what the native server says where it cannot listen; the Python front has no such words",
    "test_native_floods": "what only the native front has between its threads and the event loop",
}
"""Open a gateway's gRPC port all the same, and why it need not be either front's."""
