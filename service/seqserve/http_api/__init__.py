"""HTTP: Open Inference Protocol v2 (REST), probes and metrics."""
