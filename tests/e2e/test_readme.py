"""The README's commands and programs, run as they are written, but for the ports."""

from __future__ import annotations

from pathlib import Path

from support.documents import run_document

README = Path(__file__).parents[2] / "README.md"


def test_every_block_does_what_it_says(tmp_path: Path) -> None:
    everything = run_document(README, tmp_path)
    for expected in (
        "all hashes agree",  # inspect
        "25,120",  # parameters of a layer, from check
        "SERVING",  # health
        "seqserve_requests_total",  # metrics
        "digit.png: ",  # predict
        "(5, 10)",  # tritonclient
        "embedded",  # the receipt
        '"predictions": [{"label"',  # TorchServe
    ):
        assert expected in everything
