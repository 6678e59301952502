"""`seqserve models`: what a running gateway serves."""

from __future__ import annotations

import click

from seqserve.cli.connection import Target, connected, connecting
from seqserve.cli.tables import print_table
from seqserve.client import Model


@click.command("models")
@connecting
def command(target: Target) -> None:
    """List models and versions with their state.

    \b
    Example:
      seqserve models --address 127.0.0.1:8001
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    with connected(target) as client:
        models = client.models()
    print_table(("model", "version", "state", "task", "one example", "archive SHA-256"), map(_row, models))


def _row(model: Model) -> tuple[str, ...]:
    return (
        model.name,
        model.version,
        f"{model.state}: {model.reason}, see the log" if model.reason else model.state,
        model.task,
        " ".join(f"[{shape}]" for shape in model.example_shapes),
        model.archive_sha256[:12],
    )
