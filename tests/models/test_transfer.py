"""How far a download has come, in a few lines."""

from __future__ import annotations

from seqserve_models.transfer import StepTransfer


def test_lines_are_told_for_every_quarter() -> None:
    lines: list[str] = []
    transfer = StepTransfer(lines.append)
    for twentieth in range(1, 21):
        transfer.advance("images.gz", twentieth * 500_000, 10_000_000)
    transfer.advance("labels.gz", 4_500, 4_500)
    assert lines == [
        "images.gz: 2.5 of 10.0 MB",
        "images.gz: 5.0 of 10.0 MB",
        "images.gz: 7.5 of 10.0 MB",
        "images.gz: 10.0 of 10.0 MB",
        "labels.gz: 4 of 4 kB",
    ]


def test_a_transfer_that_begins_anew_is_told_anew() -> None:
    lines: list[str] = []
    transfer = StepTransfer(lines.append)
    for received in (100, 900, 100, 900):
        transfer.advance("images.gz", received * 10_000, 10_000_000)
    assert lines == ["images.gz: 9.0 of 10.0 MB"] * 2


def test_an_unknown_size_is_left_out() -> None:
    lines: list[str] = []
    StepTransfer(lines.append).advance("images.gz", 17_000_000, None)
    assert lines == ["images.gz: 17.0 MB"]
