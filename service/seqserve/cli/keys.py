"""`seqserve keys`: makes and lists the keys that archives are attested with."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click
from rich.markup import escape

from seqserve.cli.build_side import build_faults
from seqserve.cli.faults import Refused
from seqserve.cli.tables import print_table
from seqserve.printable import printable

FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("keys"),
    show_default=True,
    help="Folder of the keys.",
)
PRIVATE_HALF = {True: "yes", False: "unusable", None: "no"}


@click.group("keys")
def command() -> None:
    """Make or list the keys that archives are attested with.

    \b
    Examples:
      seqserve keys new release
      seqserve keys list
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines


@command.command("new")
@click.argument("name")
@FOLDER
def new_command(*, name: str, folder: Path) -> None:
    """Write NAME.key, the private half, and NAME.pub, the public one; never over files that are there."""
    from seqserve_models.signing_keys import make_key  # noqa: PLC0415 - the build side, on use

    with build_faults():
        made = make_key(name, folder)
    click.echo(f"key {made.key_id}")
    click.echo(
        f"wrote {made.private}: it attests; keep it where you build, and out of stores, images and git"
    )
    click.echo(f"wrote {made.public}: it verifies; give it to every gateway. To go on:")
    click.echo(f"  seqserve build MODEL --signing-key {quote(str(made.private))}")
    click.echo(f"  seqserve serve --trusted-keys {quote(str(made.public))}")


@command.command("list")
@FOLDER
def list_command(*, folder: Path) -> None:
    """Every key of a folder: its id, whether the private half is there and fits, and what is wrong.

    Exit 1 if something is wrong with one.
    """
    from seqserve_models.signing_keys import list_keys  # noqa: PLC0415 - the build side, on use

    with build_faults():
        keys = list_keys(folder)
    if not keys:
        click.echo(f"{folder} has no keys")
        return
    rows = ((escape(printable(key.name)), key.key_id, PRIVATE_HALF[key.fits]) for key in keys)
    print_table(("name", "key", "private half"), rows)
    for key in keys:
        if key.fault:
            click.echo(printable(key.fault))
    if faults := sum(bool(key.fault) for key in keys):
        raise Refused(f"{faults} of {len(keys)} keys in {folder} have faults")
