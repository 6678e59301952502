"""`seqserve package`: archives a model that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from seqserve.cli.build_side import (
    build_faults,
    imported,
    output_option,
    signing_key_option,
    version_option,
)


@click.command("package")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--signature", type=click.Path(path_type=Path), help="For TorchScript: JSON of what it takes and gives."
)
@click.option(
    "--definition", metavar="TARGET", help="For weights: FILE.py:NAME or package.module:NAME, which is run."
)
@output_option
@version_option
@click.option(
    "--examples",
    type=click.Path(path_type=Path),
    help="A .npy file of float32 inputs to verify with. [default: made up within the range]",
)
@signing_key_option
def command(*, file: Path, signature: Path | None, definition: str | None, **settings: Any) -> None:
    """Verify and archive FILE, a trained model: TorchScript, or a state_dict or checkpoint.

    A signature has the fields of an archive's signature.json; without a default are name, input and output.
    Its answers in batches and one by one must agree, and those of a classification be probabilities.

    \b
    Examples:
      seqserve package trained.pt --signature signature.json
      seqserve package weights.pt --definition my_model.py:MY_MODEL
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    if (signature is None) == (definition is None):
        raise click.UsageError("TorchScript needs --signature, weights need --definition")
    with imported("packaging"):
        from seqserve_models.interface_file import read_interface  # noqa: PLC0415 - torch takes seconds
        from seqserve_models.package import (  # noqa: PLC0415
            PackageSettings,
            package_torchscript,
            package_weights,
        )
        from seqserve_models.target import load_definition  # noqa: PLC0415
    with build_faults():
        if signature is not None:
            done = package_torchscript(file, read_interface(signature), PackageSettings(**settings))
        else:
            done = package_weights(file, load_definition(definition or ""), PackageSettings(**settings))
    click.echo(f"wrote {done.path}, sha256 {done.sha256}")
    click.echo(f"largest difference between two ways to answer: {done.max_delta:.2g}")
