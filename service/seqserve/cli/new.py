"""`seqserve new`: a commented example of one's own model."""

from __future__ import annotations

from pathlib import Path

import click

from seqserve.cli.build_side import build_faults, imported


@click.command("new")
@click.argument("name")
def command(*, name: str) -> None:
    """Write NAME.py, a commented example of your own model, into this folder. It builds as it is.

    \b
    Example:
      seqserve new my_model
      seqserve build my_model.py:MY_MODEL
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    with imported("a new model"):
        from seqserve_models.new_model import write_new_model  # noqa: PLC0415 - torch takes seconds
    with build_faults():
        path = write_new_model(name, Path())
    target = f"{path}:{name.upper()}"
    click.echo(f"wrote {path}; to go on:")
    click.echo(
        f"  seqserve build {target}\n  seqserve serve\nits layers: seqserve check {target} --input-shape 4"
    )
