"""`seqserve build`: from an architecture to an archive; the build side is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from seqserve.cli.faults import NotTried, Refused
from seqserve.cli.tables import print_table

if TYPE_CHECKING:
    from seqserve_models.build import BuildResult


@click.command("build")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("model-store"),
    show_default=True,
    help="The model store.",
)
@click.option(
    "--dataset", help="digits (embedded), mnist (IDX files in --data-dir). [default: the model's own]"
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of MNIST's IDX files.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same bytes.")
@click.option("--epochs", type=int, help="Passes over the training images. [default: the model's own]")
@click.option("--version", help="A version that the store does not have. [default: the next number]")
@click.option("--device", default="cpu", show_default=True, help="Where to train: cpu, cuda, cuda:N.")
def command(
    *,
    models: tuple[str, ...],
    output: Path,
    dataset: str | None,
    data_dir: Path | None,
    seed: int,
    epochs: int | None,
    version: str | None,
    device: str,
) -> None:
    """Train MODELs of the zoo, export and verify them, and write their archives into the model store.

    \b
    Examples:
      seqserve build digit_mlp
      seqserve build digit_mlp --dataset mnist --data-dir ~/mnist --seed 1
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    try:
        from seqserve_models.build import build  # noqa: PLC0415 - torch takes seconds, and is an extra
        from seqserve_models.errors import BuildError, ExportFailed, TrainingDiverged  # noqa: PLC0415
        from seqserve_models.progress import open_progress  # noqa: PLC0415
    except ImportError as error:
        raise NotTried(f"building needs {error.name} (pip install 'seqserve[build]')") from error
    console = Console()
    try:
        with open_progress(console) as progress:
            results = build(
                models, output=output, dataset=dataset, data_dir=data_dir, seed=seed, epochs=epochs,
                version=version, device=device, progress=progress,
            )  # fmt: skip
    except BuildError as error:
        kind = Refused if isinstance(error, ExportFailed | TrainingDiverged) else NotTried
        raise kind(f"{error} ({error.hint})" if error.hint else str(error)) from error
    print_table(
        ("archive", "data set", "held-out accuracy", "largest |Δ|", "seconds", "SHA-256"), map(_row, results)
    )


def _row(result: BuildResult) -> tuple[str, ...]:
    return (
        str(result.path),
        result.dataset,
        f"{result.accuracy:.2%} of {result.test_examples}",
        f"{result.max_delta:.1e}",
        f"{result.seconds:.1f}",
        result.sha256[:12],
    )
