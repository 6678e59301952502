"""`seqserve serve`: the gateway in the foreground."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from seqserve.settings import Settings, read_settings

# Settings with an option of their own; every setting has an environment variable and a key in the file.
OPTIONS = (
    "model_store", "engine", "device", "host", "grpc_port", "http_port",
    "max_queue_delay_seconds", "max_queue_size", "max_message_bytes", "default_timeout_seconds",
    "compute_slots", "intra_op_threads", "drain_pause_seconds", "drain_grace_seconds",
    "log_level", "log_format", "otlp_endpoint",
    "torchserve_folder", "torchserve_http_port", "torchserve_management_port", "torchserve_metrics_port",
    "torchserve_grpc_port", "torchserve_grpc_management_port",
)  # fmt: skip


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for name in reversed(OPTIONS):
        field = Settings.model_fields[name]
        shown = f"{field.description or ''} [default: {field.default}]".strip()
        function = click.option(f"--{name.replace('_', '-')}", name, default=None, help=shown)(function)
    return function


@click.command("serve")
@_options
@click.option(
    "--with-torchserve", is_flag=True, default=None, help="Run a TorchServe beside it, for HTTP users."
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings.")
def command(config: Path | None, **flags: Any) -> None:
    """Serve the models of a store until SIGTERM or Ctrl-C, then drain.

    A flag beats the environment (SEQSERVE_GRPC_PORT), which beats --config, which beats the default.

    \b
    Examples:
      seqserve serve
      seqserve serve --model-store /models --host 0.0.0.0 --grpc-port 9001
      seqserve serve --with-torchserve          HTTP inference by TorchServe on :8080 as well
      seqserve serve --engine torchserve        TorchServe runs the models behind the gateway
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    given = {name: value for name, value in flags.items() if value is not None}
    settings = read_settings(given, config)
    from seqserve.server import serve  # noqa: PLC0415 - settings are checked before anything heavy is imported

    asyncio.run(serve(settings))
