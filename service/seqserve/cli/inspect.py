"""`seqserve inspect`: whether an archive is what it claims to be, and what it takes and gives."""

from __future__ import annotations

from pathlib import Path

import click

from seqserve.archive import read_archive


@click.command("inspect")
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(archive: Path) -> None:
    """Verify every hash of ARCHIVE and print its signature; exit 1 on any difference.

    \b
    Example:
      seqserve inspect model-store/digit_mlp-1.mar
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    content = read_archive(archive)
    click.echo(f"{archive}: all hashes agree, sha256 {content.sha256}")
    click.echo(content.signature.model_dump_json(indent=2))
