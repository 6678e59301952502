"""What the commands of the build side share: options, an extra that may be missing, and faults in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from seqserve.cli.faults import NotTried, Refused

output_option = click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("model-store"),
    show_default=True,
    help="The model store.",
)
version_option = click.option(
    "--version", help="A version that the store does not have. [default: the next number]"
)

signing_key_option = click.option(
    "--signing-key",
    type=click.Path(path_type=Path),
    envvar="SEQSERVE_SIGNING_KEY",
    help="Private key that attests the archive, of `seqserve keys new`; also SEQSERVE_SIGNING_KEY.",
)


@contextmanager
def imported(what: str) -> Iterator[None]:
    """A block of imports that need the `build` extra. Raises NotTried where it is missing."""
    try:
        yield
    except ImportError as error:
        raise NotTried(f"{what} needs {error.name} (pip install 'seqserve[build]')") from error


@contextmanager
def build_faults() -> Iterator[None]:
    """A block of the build side; its errors become one line and an exit status."""
    from seqserve_models import errors  # noqa: PLC0415 - the build side is an extra

    no = (errors.ExportFailed, errors.TrainingDiverged, errors.LayerMisfit, errors.ModelInvalid)
    try:
        yield
    except errors.BuildError as error:
        kind = Refused if isinstance(error, no) else NotTried
        raise kind(f"{error} ({error.hint})" if error.hint else str(error)) from error
