"""`python -m soak`: exit status 0 where nothing was wrong, 1 where something was."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from soak import page
from soak.callers import KINDS
from soak.run import Options, soak


@click.command()
@click.option("--minutes", default=60.0, show_default=True, help="How long.")
@click.option("--front", type=click.Choice(["python", "native"]), default="python", show_default=True)
@click.option(
    "--engine", type=click.Choice(["embedded", "torchserve"]), default="embedded", show_default=True
)
@click.option("--reload-seconds", default=20.0, show_default=True, help="A new version so often; 0: never.")
@click.option("--leaking", "is_leaking", is_flag=True, help="The control: a gateway that leaks on purpose.")
@click.option(
    "--callers",
    multiple=True,
    type=click.Choice([kind.__name__ for kind in KINDS]),
    help="Only these; may be given again. [default: all]",
)
@click.option("--pace", default=1.0, show_default=True, help="How much faster they come back.")
@click.option(
    "--record",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A document with marks for it: docs/reliability.md.",
)
def main(record: Path | None, **chosen: Any) -> None:
    """Load a gateway with callers of every kind, check every answer, and see whether anything grows."""
    options = Options(**chosen)
    if record:
        page.check_marks(options.title, record)  # and not in an hour
    report = asyncio.run(soak(options, lambda words: click.echo(words, err=True)))
    click.echo("\n".join(report.lines()))
    if record:
        page.record(report, record)
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
