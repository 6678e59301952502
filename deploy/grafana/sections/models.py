"""Panels of models and their versions."""

from __future__ import annotations

from deploy.grafana.panel import MODEL, Panel, Query

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
