"""What a build tells while it works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINES_A_TRAINING = 10


@dataclass(frozen=True)
class EpochReport:
    """One pass over the training examples.

    loss, accuracy: the mean, and the share answered right, on the way; with augmentation, where there is
    any. test_loss, test_accuracy: of the examples held out, afterwards. Accuracies are None where answers
    are no classes.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float | None
    test_loss: float
    test_accuracy: float | None
    seconds_left: float = 0.0

    def with_seconds_left(self, seconds: float) -> EpochReport:
        """The same with an estimate of the time until the last epoch ends."""
        return replace(self, seconds_left=seconds)

    def document(self) -> dict[str, Any]:
        """Plain values without times, which differ from run to run."""
        return {name: value for name, value in asdict(self).items() if name != "seconds_left"}


class Progress(Protocol):
    """Hears of a build's steps."""

    def step(self, text: str) -> None:
        """A step begins, or has ended with a figure worth telling."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch has ended."""


class SilentProgress:
    """Tells nobody."""

    def step(self, text: str) -> None:
        """Nothing."""

    def epoch(self, report: EpochReport) -> None:
        """Nothing."""


class LineProgress:
    """Plain lines, about ten a training."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def step(self, text: str) -> None:
        """One line."""
        _say(self._console, text)

    def epoch(self, report: EpochReport) -> None:
        """One line for every tenth part of the training."""
        parts = [epoch * LINES_A_TRAINING // report.epochs for epoch in (report.epoch - 1, report.epoch)]
        if parts[0] != parts[1]:
            left = f", {_seconds(report.seconds_left)} left" if report.epoch < report.epochs else ""
            _say(self._console, f"epoch {report.epoch}/{report.epochs}: {_figures(report)}{left}")


class BarProgress:
    """A bar that fills epoch by epoch, below the lines of the steps."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def step(self, text: str) -> None:
        """One line above the bar."""
        _say(self._bar.console, text)

    def epoch(self, report: EpochReport) -> None:
        """Move the bar; a training that begins gets a new one."""
        if self._task is None or report.epoch == 1:
            self._task = self._bar.add_task("training", total=report.epochs, figures="")
        self._bar.update(self._task, completed=report.epoch, figures=_figures(report))


@contextmanager
def open_progress(console: Console) -> Iterator[Progress]:
    """Progress that suits the console, for the time of a build."""
    if not console.is_terminal:
        yield LineProgress(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar:
        yield BarProgress(bar)


def _figures(report: EpochReport) -> str:
    accuracy = "" if report.accuracy is None else f", accuracy {report.accuracy:.2%}"
    held_out = report.test_loss if report.test_accuracy is None else report.test_accuracy
    shown = f"loss {held_out:.4g}" if report.test_accuracy is None else f"{held_out:.2%}"
    return f"loss {report.loss:.4g}{accuracy}, held out {shown}"


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _say(console: Console, text: str) -> None:
    # Names and paths may hold brackets, which are no markup; long paths must stay whole to be copied.
    console.print(text, markup=False, highlight=False, soft_wrap=True)
