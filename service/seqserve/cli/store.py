"""`seqserve store`: lists, verifies and prunes the archives of a model store."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource
from rich.markup import escape

from seqserve.archive import scan_store
from seqserve.cli.faults import Refused
from seqserve.cli.tables import print_table
from seqserve.cli.trusted_keys import told, trusted_keys_option
from seqserve.printable import printable
from seqserve.settings_reading import read_settings
from seqserve.store import StoredArchive, leftovers, prune, read_store
from seqserve.trust_setup import trust_of, trust_with

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
@trusted_keys_option
def list_command(*, model_store: Path, trusted_keys: Path | None) -> None:
    """Name, version, size and figures of every archive, and whether a gateway here serves it."""
    archives = list(read_store(model_store, trust_with(trusted_keys)))
    if not archives:
        click.echo(f"{model_store} has no archives")
        return
    headings = ["model", "version", "MB", "data set", "on held-out examples", "served", "SHA-256"]
    if trusted_keys is not None:
        headings.append("attested by")
    print_table(headings, ([_cell(cell) for cell in _row(archive)[: len(headings)]] for archive in archives))
    for archive in archives:
        if archive.fault:
            click.echo(archive.fault)  # it names the archive, and is printable


@command.command("verify")
@STORE
@trusted_keys_option
def verify_command(*, model_store: Path, trusted_keys: Path | None) -> None:
    """Read every archive in full and check all hashes, and with trusted keys who has attested it.

    Exit 1 if one is not sound, or not attested.
    """
    archives = list(read_store(model_store, trust_with(trusted_keys)))
    if not archives:
        click.echo(f"{model_store} has no archives")
    for archive in archives:
        sound = f"{archive.path.name}: sound, sha256 {archive.sha256}{told(archive.attested_by)}"
        click.echo(printable(archive.fault or sound))
    for path in leftovers(model_store):
        click.echo(printable(f"{path.name}: warning: left over, belongs to no archive"))
    faults = [archive for archive in archives if archive.fault]
    if faults:
        kinds = {"not attested" if archive.is_untrusted else "not sound" for archive in faults}
        told_kinds = " or ".join(sorted(kinds, reverse=True))
        raise Refused(f"{len(faults)} of {len(archives)} archives in {model_store}: {told_kinds}")


@command.command("prune")
@STORE
@click.option("--keep", type=click.IntRange(min=1), required=True, help="Versions of each model that stay.")
@click.option("--model", help="Of this model alone.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A gateway's file: its store and trusted keys, unless others are named, and what its labels and "
    "weights name stays.",
)
@trusted_keys_option
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Say what would go, and remove nothing.")
@click.pass_context
def prune_command(
    context: click.Context,
    /,
    *,
    model_store: Path,
    keep: int,
    model: str | None,
    config: Path | None,
    trusted_keys: Path | None,
    is_dry_run: bool,
) -> None:
    """Remove old versions with all that lies beside them; never one that a gateway here serves.

    With trusted keys, versions that nobody trusted has attested do not count among those that stay.
    Exit 1 if one stays for another reason.
    """
    settings = read_settings({}, config) if config else None
    is_named = context.get_parameter_source("model_store") is not ParameterSource.DEFAULT
    if settings is not None and not is_named:
        model_store = settings.model_store
    if model is not None and not any(path.name.startswith(f"{model}-") for path in scan_store(model_store)):
        raise Refused(f"there is no model {model!r} in {model_store}")
    routing = {name: own.routing for name, own in settings.models.items()} if settings else {}
    trust = trust_with(trusted_keys) if trusted_keys or settings is None else trust_of(settings)
    done = prune(model_store, trust, keep=keep, model=model, routing=routing, is_dry_run=is_dry_run)
    verb = "would remove" if is_dry_run else "removed"
    for one in done:
        for path in one.removed:
            click.echo(printable(f"{verb} {path}"))
        if one.kept_because:
            click.echo(printable(f"kept {one.path}: {one.kept_because}"))
    freed_bytes = sum(one.freed_bytes for one in done)
    click.echo(f"{verb} {sum(len(one.removed) for one in done)} files, {freed_bytes} bytes")
    if faults := sum(one.is_fault for one in done):
        raise Refused(f"{faults} old versions in {model_store} could not be removed")


def _row(archive: StoredArchive) -> tuple[str, ...]:
    served = {True: "yes", False: "no", None: "unknown"}[archive.is_served]
    size = f"{archive.size_bytes / 1e6:.2f}"
    signature = archive.signature
    if signature is None:
        said = ("", "not attested") if archive.is_untrusted else ("not sound", "")
        return (*archive.name_and_version, size, "", "", served, *said)
    return (
        signature.name,
        signature.version,
        size,
        str(signature.training.get("dataset", "")),
        _figures(signature.training.get("metrics")),
        served,
        archive.sha256[:12],
        " ".join(archive.attested_by),
    )


def _figures(metrics: object) -> str:
    """What a build measured. An archive from elsewhere may tell anything here."""
    if not isinstance(metrics, dict):
        return ""
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in metrics.items()}
    return ", ".join(f"{str(name).removeprefix('test_')} {value}" for name, value in shown.items())


def _cell(text: str) -> str:
    """Text from an archive: no markup, and nothing that a terminal would obey."""
    return escape(printable(text))
