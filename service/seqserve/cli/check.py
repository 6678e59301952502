"""`seqserve check`: whether the layers of an nn.Sequential fit, told without data and without training."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import click

from seqserve.cli.build_side import build_faults, imported
from seqserve.cli.tables import print_table

if TYPE_CHECKING:
    from seqserve_models.shapes import LayerRow

SIZES = re.compile(r"[1-9][0-9]{0,9}(,[1-9][0-9]{0,9}){0,7}", re.ASCII)
MAX_NUMBERS = 2**31


def read_shape(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    """Sizes of an example's axes from `1,28,28`. Raises click.BadParameter."""
    if not SIZES.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is no shape; accepted are up to 8 positive whole numbers with commas between them, "
            "such as 784 or 1,28,28, without the batch"
        )
    sizes = tuple(map(int, text.split(",")))
    if math.prod(sizes) > MAX_NUMBERS:
        raise click.BadParameter(f"one example of {text} is more than {MAX_NUMBERS:,} numbers")
    return sizes


@click.command("check")
@click.argument("target")
@click.option(
    "--input-shape",
    callback=read_shape,
    metavar="SIZES",
    required=True,
    help="Shape of one example, without the batch: 784 or 1,28,28.",
)
def command(*, target: str, input_shape: tuple[int, ...]) -> None:
    """Follow an example's shape through TARGET, layer by layer; exit 1 names the layer that does not fit.

    \b
    TARGET is one of
      FILE.py:NAME          the file is run: check no file that you would not run
      package.module:NAME   looked for in this folder first, and run as well
      MODEL                 a model of the zoo
    NAME is an nn.Sequential, a function that makes one without arguments, or a ModelDefinition.

    \b
    Examples:
      seqserve check digit_mlp --input-shape 784
      seqserve check net.py:build --input-shape 1,28,28
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    with imported("checking"):
        from seqserve_models.errors import LayerMisfit, LayerOpaque  # noqa: PLC0415 - torch takes seconds
        from seqserve_models.shapes import follow  # noqa: PLC0415
        from seqserve_models.target import load_target  # noqa: PLC0415
    with build_faults():
        try:
            rows = follow(load_target(target), input_shape)
        except (LayerMisfit, LayerOpaque) as error:
            _print(input_shape, error.rows)
            raise
    _print(input_shape, rows)


def _print(input_shape: tuple[int, ...], rows: tuple[LayerRow, ...]) -> None:
    layers = [(row.name, row.kind, str([*row.output]), f"{row.parameters:,}") for row in rows]
    total = sum(row.parameters for row in rows)
    print_table(
        ("layer", "class", "output of one example", "parameters"),
        [("the input", "", str([*input_shape]), ""), *layers, ("together", "", "", f"{total:,}")],
    )
