"""What a build tells, on a terminal and in a log."""

from __future__ import annotations

import io

from rich.console import Console

from seqserve_models.progress import EpochReport, open_progress


def tell(console: Console, epochs: int) -> None:
    with open_progress(console) as progress:
        progress.step("training [bold]on[/bold] /a/path")
        for epoch in range(1, epochs + 1):
            progress.epoch(EpochReport(epoch, epochs, loss=1 / epoch, accuracy=0.5))


def test_a_log_gets_ten_plain_lines_a_training() -> None:
    log = io.StringIO()
    tell(Console(file=log, force_terminal=False), epochs=80)
    lines = log.getvalue().splitlines()
    assert lines[0] == "training [bold]on[/bold] /a/path"
    assert len(lines) == 11
    assert lines[-1] == "epoch 80/80: loss 0.0125, accuracy 50.00%"


def test_a_short_training_tells_every_epoch() -> None:
    log = io.StringIO()
    tell(Console(file=log, force_terminal=False), epochs=2)
    assert len(log.getvalue().splitlines()) == 3


def test_a_terminal_gets_a_bar_that_fills() -> None:
    terminal = io.StringIO()
    tell(Console(file=terminal, force_terminal=True, width=100, color_system=None), epochs=80)
    shown = terminal.getvalue()
    assert "training [bold]on[/bold] /a/path" in shown
    assert "80/80" in shown
    assert "loss 0.0125, accuracy 50.00%" in shown
