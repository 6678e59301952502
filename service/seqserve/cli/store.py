"""`seqserve store`: lists, verifies and prunes the archives of a model store."""

from __future__ import annotations

from pathlib import Path

import click

from seqserve.cli.faults import Refused
from seqserve.cli.tables import print_table
from seqserve.store import StoredArchive, leftovers, prune, read_store

STORE = click.option(
    "--model-store",
    type=click.Path(path_type=Path),
    default=Path("model-store"),
    envvar="SEQSERVE_MODEL_STORE",
    show_default=True,
    help="Folder with the archives.",
)


@click.group("store")
def command() -> None:
    """List, verify or prune the archives of a model store.

    \b
    Examples:
      seqserve store list
      seqserve store verify
      seqserve store prune --keep 3
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines


@command.command("list")
@STORE
def list_command(*, model_store: Path) -> None:
    """Name, version, size and figures of every archive, and whether a gateway here serves it."""
    archives = list(read_store(model_store))
    if not archives:
        click.echo(f"{model_store} has no archives")
        return
    headings = ("archive", "MB", "data set", "on held-out examples", "served", "SHA-256")
    print_table(headings, map(_row, archives))


@command.command("verify")
@STORE
def verify_command(*, model_store: Path) -> None:
    """Read every archive in full and check all hashes; exit 1 if one is not sound."""
    archives = list(read_store(model_store))
    for archive in archives:
        click.echo(f"{archive.path.name}: {archive.fault or f'sound, sha256 {archive.sha256}'}")
    for path in leftovers(model_store):
        click.echo(f"{path.name}: left over, belongs to no archive")
    faults = sum(bool(archive.fault) for archive in archives)
    if faults:
        raise Refused(f"{faults} of {len(archives)} archives in {model_store} are not sound")


@command.command("prune")
@STORE
@click.option("--keep", type=click.IntRange(min=1), required=True, help="Versions of each model that stay.")
@click.option("--model", help="Of this model alone.")
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Say what would go, and remove nothing.")
def prune_command(*, model_store: Path, keep: int, model: str | None, is_dry_run: bool) -> None:
    """Remove old versions with all that lies beside them; never one that a gateway here serves."""
    done = prune(model_store, keep=keep, model=model, is_dry_run=is_dry_run)
    verb = "would remove" if is_dry_run else "removed"
    for one in done:
        if one.kept_because:
            click.echo(f"kept {one.path}: {one.kept_because}")
        else:
            click.echo(f"{verb} {one.path}")
    freed = sum(one.freed_bytes for one in done)
    click.echo(f"{verb} {sum(not one.kept_because for one in done)} archives, {_megabytes(freed)} MB")


def _row(archive: StoredArchive) -> tuple[str, ...]:
    served = "yes" if archive.is_served else "no"
    size = _megabytes(archive.size_bytes)
    if archive.signature is None:
        return (archive.path.name, size, archive.fault, "", served, "")
    training = archive.signature.training
    metrics = training.get("metrics")
    figures = metrics.items() if isinstance(metrics, dict) else ()
    shown = ", ".join(f"{str(name).removeprefix('test_')} {value:.4g}" for name, value in figures)
    return (
        archive.path.name,
        size,
        str(training.get("dataset", "")),
        shown,
        served,
        archive.sha256[:12],
    )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.2f}"
