"""What a build tells, on a terminal and in a log."""

from __future__ import annotations

import io

from rich.console import Console

from seqserve_models.progress import EpochReport, open_progress


def tell(console: Console, epochs: int) -> None:
    with open_progress(console) as progress:
        progress.step("training [bold]on[/bold] /a/path")
        for epoch in range(1, epochs + 1):
            report = EpochReport(epoch, epochs, 1 / epoch, 0.5, test_loss=1.0, test_accuracy=0.25)
            progress.epoch(report.with_seconds_left(2.0 * (epochs - epoch)))


def test_a_log_gets_ten_plain_lines_a_training() -> None:
    log = io.StringIO()
    tell(Console(file=log, force_terminal=False), epochs=80)
    lines = log.getvalue().splitlines()
    assert lines[0] == "training [bold]on[/bold] /a/path"
    assert len(lines) == 11
    assert lines[1] == "epoch 8/80: loss 0.125, accuracy 50.00%, held out 25.00%, 2 min 24 s left"
    assert lines[-1] == "epoch 80/80: loss 0.0125, accuracy 50.00%, held out 25.00%"


def test_without_classes_the_held_out_loss_is_told() -> None:
    log = io.StringIO()
    with open_progress(Console(file=log, force_terminal=False)) as progress:
        progress.epoch(EpochReport(1, 1, 0.5, None, test_loss=0.25, test_accuracy=None))
    assert log.getvalue() == "epoch 1/1: loss 0.5, held out loss 0.25\n"


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
