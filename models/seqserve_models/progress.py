"""What a build tells while it works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

LINES_A_TRAINING = 10


@dataclass(frozen=True)
class EpochReport:
    """One pass over the training images: mean loss, and the share answered right on the way."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float


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
            _say(self._console, f"epoch {report.epoch}/{report.epochs}: {_figures(report)}")


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
    )
    with Bar(*columns, console=console) as bar:
        yield BarProgress(bar)


def _figures(report: EpochReport) -> str:
    return f"loss {report.loss:.4f}, accuracy {report.accuracy:.2%}"


def _say(console: Console, text: str) -> None:
    # Names and paths may hold brackets, which are no markup; long paths must stay whole to be copied.
    console.print(text, markup=False, highlight=False, soft_wrap=True)
