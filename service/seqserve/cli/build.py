"""`seqserve build`: from an architecture to an archive; the build side is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from seqserve.cli.build_side import (
    build_faults,
    imported,
    output_option,
    signing_key_option,
    version_option,
)
from seqserve.cli.tables import print_table

if TYPE_CHECKING:
    from seqserve_models.build import BuildResult


@click.command("build")
@click.argument("targets", nargs=-1, metavar="MODEL...")
@click.option("--all", "is_all", is_flag=True, help="Every model of the zoo that knows the data set.")
@output_option
@click.option(
    "--dataset", help="For the zoo: digits (embedded), mnist, line. [default: the model's first recipe]"
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the data set's files.")
@click.option("--download", is_flag=True, help="Fetch MNIST's files into --data-dir, where they are missing.")
@click.option("--seed", type=int, help="The same seed gives the same bytes. [default: 0]")
@click.option("--epochs", type=int, help="Passes over the training examples. [default: the recipe's own]")
@version_option
@click.option("--device", default="cpu", show_default=True, help="Where to train: cpu, cuda, cuda:N.")
@click.option(
    "--from-checkpoint",
    type=click.Path(path_type=Path),
    help="Go on with an unfinished training, or start from the weights of a finished one.",
)
@signing_key_option
def command(*, targets: tuple[str, ...], is_all: bool, **settings: Any) -> None:
    """Train MODELs, export and verify them, and write their archives into the model store.

    \b
    MODEL is one of
      NAME                  a model of the zoo, such as digit_mlp
      FILE.py:NAME          a ModelDefinition of your own; the file is run
      package.module:NAME   looked for in this folder first, and run as well

    Beside each archive lie its SHA-256, its checkpoint and a report to open in a browser. Ctrl-C leaves the
    training's state in NAME-VERSION.unfinished.pt for --from-checkpoint.

    \b
    Examples:
      seqserve build --all
      seqserve build digit_mlp --dataset mnist --data-dir mnist --download
      seqserve build my_model.py:MY_MODEL --seed 1
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    if bool(targets) == is_all:
        both = "either name the models to build or ask for --all, not both"
        raise click.UsageError(both if is_all else "name the models to build, or ask for --all")
    with imported("building"):
        from seqserve_models.build import build  # noqa: PLC0415 - torch takes seconds, and is an extra
        from seqserve_models.plan import BuildSettings  # noqa: PLC0415
        from seqserve_models.progress import open_progress  # noqa: PLC0415
        from seqserve_models.zoo import models_for  # noqa: PLC0415
    console = Console()
    with build_faults(), open_progress(console) as progress:
        names = models_for(settings["dataset"]) if is_all else targets
        results = build(names, BuildSettings(**settings), progress)
    print_table(
        ("archive", "data set", "on held-out examples", "largest |Δ|", "seconds", "SHA-256"),
        map(_row, results),
    )


def _row(result: BuildResult) -> tuple[str, ...]:
    return (
        str(result.path),
        result.dataset,
        result.evaluation.headline,
        f"{result.max_delta:.1e}",
        f"{result.seconds:.1f}",
        result.sha256[:12],
    )
