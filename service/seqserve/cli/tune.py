"""`seqserve tune`: measures models' batch curves, and proposes settings that keep to a bound on the p99."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bar

from seqserve.archive import Archive, read_archive
from seqserve.cli.faults import NotTried, Refused
from seqserve.cli.tables import print_table
from seqserve.cli.trusted_keys import trusted_keys_option
from seqserve.cores import available_cores
from seqserve.errors import ArchiveInvalid, DependencyMissing, NotFound, SettingsInvalid
from seqserve.settings import Settings
from seqserve.settings_reading import read_settings
from seqserve.trust_setup import check_trust, trust_of
from seqserve.tuning.curves import Curve, doublings
from seqserve.tuning.durations import parse_seconds
from seqserve.tuning.proposal import propose
from seqserve.tuning.results import (
    HEADINGS,
    Results,
    as_toml,
    document,
    in_words,
    rows,
    words_of_choice,
    words_of_miss,
)
from seqserve.tuning.wanted import wanted_archives

if TYPE_CHECKING:
    from seqserve.tuning.measuring import Measured

Draw = Callable[[Path, Results], None]
PLOT_SUFFIXES = (".svg", ".png")
UNDER_LOAD = (
    "These are forwards alone, one after the other: the gateway's own work and the network come on top, and\n"
    "where cores are few it slows the forwards too. Try the settings under your own load before you rely on "
    "them."
)


def read_time(_: click.Context, __: click.Parameter, text: str) -> float:
    """Seconds from `5ms`. Raises click.BadParameter."""
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def read_plot(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """A file that can be written. Raises click.BadParameter."""
    if path is None:
        return None
    if path.suffix not in PLOT_SUFFIXES:
        raise click.BadParameter(f"{path} is of no format that is drawn; accepted: a name with .svg or .png")
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {path.parent}")
    return path


@click.command("tune")
@click.argument("targets", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--p99", "p99_seconds", callback=read_time, required=True, metavar="TIME",
    help="What 99 of 100 requests may take in the gateway: 5ms, 500us, 0.005s.",
)  # fmt: skip
@click.option(
    "--model-store", type=click.Path(path_type=Path), help="Folder with the archives. [default: model-store]"
)
@click.option("--device", help="Where batches run: auto, cpu, cuda or cuda:N. [default: auto]")
@trusted_keys_option
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings, as of `serve`.")
@click.option(
    "--rounds", type=click.IntRange(min=100), default=300, show_default=True,
    help="Forwards of each batch size and number of threads, in up to 10 s.",
)  # fmt: skip
@click.option(
    "--round-trip", "round_trip_seconds", callback=read_time, metavar="TIME",
    default="2ms", show_default=True,
    help="How soon a caller who has been answered asks again; a delay is no shorter.",
)  # fmt: skip
@click.option(
    "--plot", type=click.Path(path_type=Path), callback=read_plot,
    help="Picture to write, .svg or .png. [default: tune-MODEL-VERSION.svg, of several models tune.svg]",
)  # fmt: skip
@click.option("--no-plot", "is_without_plot", is_flag=True, help="Write no picture.")
@click.option("--json", "is_json", is_flag=True, help="All that was measured and is proposed, for scripts.")
def command(
    *,
    targets: tuple[str, ...],
    p99_seconds: float,
    config: Path | None,
    rounds: int,
    round_trip_seconds: float,
    plot: Path | None,
    is_without_plot: bool,
    is_json: bool,
    **flags: Any,
) -> None:
    """Measure how long batches of each size take, and propose batch size, delay and threads.

    MODEL is NAME or NAME/VERSION; name all that one gateway serves, for they share its cores. Without any,
    all of the store are measured, each in its highest version. The archives are verified as by `serve` and
    run in this process; leave the machine alone meanwhile, and measure where you will serve.

    Of the settings that keep to --p99, those with the most examples a second are printed as lines for the
    file of --config. Exit 1 where there are none, with what is nearest. docs/tuning.md says what the bound
    counts, and what it cannot.

    \b
    Examples:
      seqserve tune digit_mlp --p99 5ms
      seqserve tune --p99 5ms --config seqserve.toml --plot curve.png
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    if plot and is_without_plot:
        raise click.UsageError("either --plot or --no-plot, not both")
    draw = None if is_without_plot else _plotter()
    settings = _settings({name: value for name, value in flags.items() if value is not None}, config)
    archives = _verified(settings, targets)
    measured = _measure(settings, archives, rounds, p99_seconds)
    outcome = propose(measured.curves, p99_seconds, measured.machine, round_trip_seconds=round_trip_seconds)
    results = Results(measured.device, measured.machine, p99_seconds, measured.curves, outcome)
    if is_json:
        click.echo(json.dumps(document(results), indent=2))
    else:
        _print(results)
    if draw:
        _draw(draw, plot or _default_plot(results.curves), results)
    if results.misses:
        raise Refused("; ".join(words_of_miss(miss, p99_seconds) for miss in results.misses))


def _draw(draw: Draw, path: Path, results: Results) -> None:
    try:
        draw(path, results)
    except OSError as error:
        raise NotTried(f"{path} cannot be written: {error.strerror or error}") from error
    click.echo(f"the picture is in {path}", err=True)


def _plotter() -> Draw:
    """What draws; it is looked for before minutes are spent on measuring. Raises DependencyMissing."""
    try:
        from seqserve.tuning.plot import write_plot  # noqa: PLC0415 - matplotlib is an extra and takes a second
    except ImportError as error:
        raise DependencyMissing(
            f"the picture needs {error.name}", hint="pip install 'seqserve[build]', or --no-plot"
        ) from error
    return write_plot


def _settings(flags: dict[str, Any], config: Path | None) -> Settings:
    """As `serve` would have them. Raises SettingsInvalid."""
    settings = read_settings(flags, config)
    if settings.engine != "embedded":
        raise SettingsInvalid(
            f"engine: {settings.engine!r}; only the embedded engine is measured",
            hint="a TorchServe is measured from outside, with a load",
        )
    return settings


def _verified(settings: Settings, targets: Sequence[str]) -> list[Archive]:
    """The archives, checked as `serve` checks them. Raises StartFault or NotTried: 1 is a no to the bound."""
    try:
        paths = wanted_archives(settings, targets)
        check_trust(settings)
        return [read_archive(path, trust_of(settings)) for path in paths]
    except (ArchiveInvalid, NotFound) as error:
        raise NotTried(str(error)) from error


def _measure(settings: Settings, archives: Sequence[Archive], rounds: int, p99_seconds: float) -> Measured:
    from seqserve.tuning.measuring import Effort, measure, steps_on  # noqa: PLC0415 - for a quick --help

    effort = Effort(rounds, largest_seconds=p99_seconds)
    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        progress = BarProgress(bar, steps_on(doublings(available_cores()), archives))
        return asyncio.run(measure(settings, archives, effort, progress))


class BarProgress:
    """A bar on standard error that fills step by step; where that is no terminal, nothing."""

    def __init__(self, bar: Bar, steps: int) -> None:
        self._bar = bar
        self._task = bar.add_task("loading", total=steps)

    def begin(self, model: str, batch_size: int, threads: int, lap: int) -> None:
        """See Progress."""
        told = f"{escape(model)}: batches of {batch_size} on {in_words(threads)}, lap {lap + 1}"
        self._bar.update(self._task, description=told)

    def skip(self, steps: int) -> None:
        """See Progress."""
        self._bar.advance(self._task, steps)

    def end(self) -> None:
        """See Progress."""
        self._bar.advance(self._task)


def _print(results: Results) -> None:
    for curve in results.curves:
        click.echo(f"{curve.model} {curve.version} on {results.device}")
        print_table(HEADINGS, rows(results, curve))
    if results.proposal is None:
        return
    for choice in results.proposal.choices:
        click.echo(words_of_choice(choice))
    click.echo(f"\n{as_toml(results, results.proposal)}\n{UNDER_LOAD}")


def _default_plot(curves: Sequence[Curve]) -> Path:
    named = f"tune-{curves[0].model}-{curves[0].version}.svg"
    return Path(named if len(curves) == 1 else "tune.svg")
