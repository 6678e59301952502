"""`seqserve attest`: attests archives that are in a store already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seqserve.cli.build_side import build_faults
from seqserve.cli.faults import Refused
from seqserve.printable import printable

if TYPE_CHECKING:
    from seqserve_models.attestation import Attested


@click.command("attest")
@click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE...", type=click.Path(path_type=Path))
@click.option(
    "--signing-key",
    "key_file",
    type=click.Path(path_type=Path),
    envvar="SEQSERVE_SIGNING_KEY",
    required=True,
    help="Private key, of `seqserve keys new`; also SEQSERVE_SIGNING_KEY.",
)
def command(*, archives: tuple[Path, ...], key_file: Path) -> None:
    """Attest each ARCHIVE, a NAME-VERSION.mar whose SHA-256 lies beside it, in ARCHIVE.sig.

    You say by it that these bytes are to be served as this version of this model; nothing in them is looked
    at. Signatures of other keys over the same bytes stay. Exit 1 if one archive was not attested.

    \b
    Example:
      seqserve attest model-store/*.mar --signing-key keys/release.key
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    from seqserve_models.attestation import attest_archive  # noqa: PLC0415 - the build side, on use
    from seqserve_models.errors import NotAttestable  # noqa: PLC0415 - likewise
    from seqserve_models.signing_keys import read_signing_key  # noqa: PLC0415 - likewise

    refused = 0
    with build_faults():
        key = read_signing_key(key_file)
        for archive in archives:
            try:
                click.echo(printable(_line(archive, attest_archive(archive, key))))
            except NotAttestable as error:
                refused += 1
                click.echo(printable(f"{error} ({error.hint})" if error.hint else str(error)))
    if refused:
        raise Refused(f"{refused} of {len(archives)} archives were not attested")


def _line(archive: Path, done: Attested) -> str:
    line = f"{archive.name}: sha256 {done.sha256}, attested by {done.key_id}"
    if done.has_replaced:
        return f"{line}; {done.path.name} attested something else and was replaced"
    return f"{line}, beside {done.kept} of other keys" if done.kept else line
