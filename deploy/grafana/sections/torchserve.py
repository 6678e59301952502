"""Panels of the TorchServe behind a gateway."""

from __future__ import annotations

from deploy.grafana.panel import GATEWAY, STEP, Panel, Query

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
