"""The README's commands and programs, run as they are written, but for the ports."""

from __future__ import annotations

from pathlib import Path

from seqserve.archive import read_archive
from seqserve.trust import UNCHECKED
from support.documents import run_document

README = Path(__file__).parents[2] / "README.md"


def test_every_block_does_what_it_says_and_the_first_one_builds_a_good_model(tmp_path: Path) -> None:
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
    training = read_archive(tmp_path / "model-store" / "digit_mlp-1.mar", UNCHECKED).signature.training
    assert training["metrics"]["test_accuracy"] >= 0.97  # with the default settings
