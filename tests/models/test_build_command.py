"""`seqserve build`: its exit statuses, and one line for what it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqserve.archive import read_archive
from seqserve.trust import UNCHECKED
from seqserve_models.attestation import attestation, statement
from seqserve_models.signing_keys import make_key, read_signing_key
from support.command import seqserve


def test_a_build_is_shown_and_can_be_served(tmp_path: Path) -> None:
    key = make_key("release", tmp_path / "keys").private
    settings = ("--epochs", "1", "--version", "3", "--signing-key", str(key), "--output", str(tmp_path))
    ended = seqserve("build", "digit_mlp", *settings)

    assert (ended.status, ended.errors) == (0, "")
    archive = read_archive(tmp_path / "digit_mlp-3.mar", UNCHECKED)
    assert (archive.name, archive.version) == ("digit_mlp", "3")
    said = statement("digit_mlp", "3", archive.sha256)
    assert (tmp_path / "digit_mlp-3.mar.sig").read_bytes() == attestation(said, read_signing_key(key))
    assert archive.sha256[:12] in ended.output
    assert str(tmp_path / "digit_mlp-3.mar") in ended.output.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], ["'nobody'", "digit_mlp"]),
        ([], ["--all"]),
        (["digit_mlp", "--all"], ["--all"]),
        (["--all", "--dataset", "letters"], ["'letters'", "digits, mnist, line"]),
        (["line", "--data-dir", "here"], ["line comes with the package", "--data-dir"]),
        (["digit_mlp", "line", "--from-checkpoint", "x.pt"], ["one checkpoint for 2 models"]),
        (["digit_mlp", "--from-checkpoint", "gone.pt"], ["gone.pt cannot be read"]),
        (["digit_mlp", "--dataset", "letters"], ["'letters'", "digits, mnist"]),
        (["digit_mlp", "--dataset", "mnist"], ["IDX files", "--data-dir DIR"]),
        (["digit_mlp", "--epochs", "0"], ["epochs"]),
        (["digit_mlp", "--seed", "-1"], ["seed -1"]),
        (["digit_mlp", "--version", "1.0"], ["'1.0'", "whole numbers"]),
        (["digit_mlp", "--device", "tpu"], ["tpu"]),
    ],
)
def test_what_cannot_be_tried_is_exit_status_2_and_one_line(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    ended = seqserve("build", *arguments, "--output", str(tmp_path / "model-store"))

    assert ended.status == 2
    for word in words:
        assert word in ended.one_line
    assert not (tmp_path / "model-store").exists()


def test_a_version_that_is_there_is_exit_status_2(tmp_path: Path) -> None:
    (tmp_path / "digit_mlp-1.mar").write_bytes(b"anything")

    ended = seqserve("build", "digit_mlp", "--version", "1", "--output", str(tmp_path))

    assert ended.status == 2
    assert "version 1 of digit_mlp" in ended.one_line
