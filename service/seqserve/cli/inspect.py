"""`seqserve inspect`: whether an archive is what it claims to be, and what it takes and gives."""

from __future__ import annotations

from pathlib import Path

import click

from seqserve.archive import read_archive
from seqserve.cli.trusted_keys import told, trusted_keys_option
from seqserve.printable import printable
from seqserve.trust_setup import trust_with


@click.command("inspect")
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@trusted_keys_option
def command(archive: Path, *, trusted_keys: Path | None) -> None:
    """Verify every hash of ARCHIVE and print its signature; exit 1 on any difference.

    With trusted keys it must be attested by one, which is looked at before anything of it is parsed.

    \b
    Example:
      seqserve inspect model-store/digit_mlp-1.mar --trusted-keys keys/release.pub
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    content = read_archive(archive, trust_with(trusted_keys))
    agree = f"{archive}: all hashes agree, sha256 {content.sha256}{told(content.attested_by)}"
    click.echo(printable(agree))
    for line in content.signature.model_dump_json(indent=2).split("\n"):
        click.echo(printable(line))
