"""`seqserve tune` on the command line: what it takes, what it prints, and its exit statuses.

The measuring is made up here; tests/models/test_tune.py has the real one.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from seqserve.archive import Archive
from seqserve.settings import Settings
from seqserve.settings_reading import read_settings
from seqserve.tuning import measuring
from seqserve.tuning.curves import Curve, Point
from seqserve.tuning.durations import as_written, parse_seconds, rounded_up
from seqserve.tuning.measuring import Effort, Measured, Progress
from seqserve.tuning.proposal import Machine, Miss
from seqserve.tuning.results import words_of_miss
from support.archives import make_archive
from support.attesting import Signer, trusting
from support.command import Ended, seqserve

SIZES = (1, 2, 4, 8)
FIXED, EACH = 0.001, 0.0005


@pytest.fixture(autouse=True)
def folder(environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current folder, with a store of three archives; forwards take FIXED and EACH an example."""
    environment.chdir(tmp_path)
    environment.setattr(measuring, "measure", made_up)
    store = tmp_path / "model-store"
    store.mkdir()
    for name, version in (("tiny", "9"), ("tiny", "10"), ("other", "1")):
        make_archive(store, name, version)
    return tmp_path


async def made_up(
    settings: Settings, archives: Sequence[Archive], effort: Effort, progress: Progress
) -> Measured:
    points = tuple(Point(size, 1, effort.rounds, FIXED + EACH * size, FIXED + EACH * size) for size in SIZES)
    return Measured("cpu", Machine(4), tuple(Curve(one.name, one.version, points) for one in archives))


def tune(*arguments: str) -> Ended:
    return seqserve("tune", *arguments)


def lines_for_the_file(ended: Ended) -> str:
    """What is to be copied into the file of --config: from the comment to the empty line behind the sections."""
    begun = ended.output[ended.output.index("# seqserve tune") :]
    return begun[: begun.rindex("\n\n")]


def test_the_curve_is_shown_and_the_proposal_is_marked(folder: Path) -> None:
    ended = tune("tiny", "--p99", "7ms")

    assert (ended.status, ended.errors) == (0, "the picture is in tune-tiny-10.svg\n")
    rows = [line.split() for line in ended.output.splitlines()]
    assert ["tiny", "10", "on", "cpu"] in rows
    assert ["4", "1", "300", "3", "3", "6", "1,333", "←", "proposed"] in rows
    assert ["8", "1", "300", "5", "5", "10", "1,600"] in rows
    assert "tiny 10: batches of up to 4 on 1 thread keep to 6 ms, waiting included" in ended.output
    assert "under your own load" in ended.output
    assert (folder / "tune-tiny-10.svg").read_text().startswith("<?xml")


def test_the_lines_are_settings_that_the_gateway_takes(folder: Path) -> None:
    (folder / "seqserve.toml").write_text(lines_for_the_file(tune("--p99", "7ms", "--no-plot")))
    settings = read_settings({}, folder / "seqserve.toml")

    assert (settings.intra_op_threads, settings.compute_slots) == (1, 4)
    assert settings.models.keys() == {"tiny", "other"}
    for name in ("tiny", "other"):
        assert settings.of_model(name).max_batch_size == 4
        assert settings.of_model(name).max_queue_delay_seconds == 0


def test_a_delay_is_proposed_with_its_reason_where_callers_are_back_soon_enough() -> None:
    ended = tune("tiny", "--p99", "7ms", "--round-trip", "400us", "--no-plot")

    own = tomllib.loads(lines_for_the_file(ended))["models"]["tiny"]
    assert own == {"max_batch_size": 4, "max_queue_delay_seconds": 0.0004}
    assert "a delay pays, since 1 ms of a forward do not depend on its size" in ended.output


def test_without_a_model_all_of_the_store_are_measured_in_their_highest_version(folder: Path) -> None:
    document = json.loads(tune("--p99", "7ms", "--json").output)

    assert [(one["model"], one["version"]) for one in document["models"]] == [("other", "1"), ("tiny", "10")]
    assert (folder / "tune.svg").exists()


def test_a_version_can_be_named_and_a_configuration_file_says_which_is_the_highest(folder: Path) -> None:
    (folder / "seqserve.toml").write_text('[models.tiny]\nversion_policy = "listed:9"\n')

    for arguments in (("tiny/9",), ("tiny", "--config", "seqserve.toml")):
        document = json.loads(tune(*arguments, "--p99", "7ms", "--json", "--no-plot").output)
        assert [one["version"] for one in document["models"]] == ["9"]


def test_scripts_get_all_that_was_measured_and_is_proposed() -> None:
    ended = tune("tiny", "--p99", "7ms", "--rounds", "100", "--json", "--no-plot")
    document = json.loads(ended.output)
    [model] = document["models"]

    assert (ended.status, ended.errors) == (0, "")
    assert (document["device"], document["cores"], document["p99_seconds"]) == ("cpu", 4, 0.007)
    assert document["proposed"] == {"compute_slots": 4, "intra_op_threads": 1}
    assert model["proposed"]["max_batch_size"] == 4
    assert model["points"][0] == {
        "batch_size": 1, "threads": 1, "rounds": 100, "median_seconds": 0.0015, "p99_seconds": 0.0015,
        "examples_per_second": pytest.approx(667, rel=1e-3), "p99_bound_seconds": 0.003,
    }  # fmt: skip


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_bound_out_of_reach_is_exit_status_1_with_what_is_nearest_and_what_it_takes(
    folder: Path, options: tuple[str, ...]
) -> None:
    ended = tune("tiny", "--p99", "2ms", "--plot", "curve.png", *options)

    assert ended.status == 1
    picture, refusal = ended.errors.splitlines()
    assert picture == "the picture is in curve.png"
    assert refusal == (
        "seqserve: tiny 10: no batch size keeps to 2 ms; nearest are batches of 1 on 1 thread with 3 ms; "
        "it takes --p99 3.1ms, or forwards 1.5 times as fast"
    )
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "# seqserve tune" not in ended.output
    if options:
        document = json.loads(ended.output)
        assert document["proposed"] is document["models"][0]["proposed"] is None


@pytest.mark.parametrize("text", ["5", "ms", "-5ms", "0ms", "5 m", "1e3ms", "nan s", "3601s", "٥ms", ""])  # noqa: RUF001 - it is what came
def test_a_time_that_cannot_be_read_is_exit_status_2_and_says_what_is_accepted(text: str) -> None:
    ended = tune("tiny", f"--p99={text}")

    assert (ended.status, ended.output) == (2, "")
    assert "such as 5ms, 500us or 0.005s" in ended.one_line
    assert "'--p99'" in ended.one_line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny"], ["--p99"]),
        (["tiny", "--p99", "5ms", "--rounds", "99"], ["--rounds", "99"]),
        (["tiny", "--p99", "5ms", "--plot", "curve.pdf"], ["curve.pdf", ".svg or .png"]),
        (["tiny", "--p99", "5ms", "--plot", "gone/curve.svg"], ["there is no folder gone"]),
        (["tiny", "--p99", "5ms", "--plot", "curve.svg", "--no-plot"], ["either --plot or --no-plot"]),
        (["tiny", "tiny/9", "--p99", "5ms"], ["tiny is named more than once"]),
        (["tiny", "--p99", "5ms", "--model-store", "gone"], ["there is no model store at gone"]),
        (["tiny", "--p99", "5ms", "--config", "gone.toml"], ["no file gone.toml"]),
        (["tint", "--p99", "5ms"], ["no model 'tint' in model-store", "there are: other, tiny"]),
        (["tiny/3", "--p99", "5ms"], ["model tiny has no version '3'", "there are: 9, 10"]),
        (["--p99", "5ms", "--model-store", "."], [". has no archives that these settings would load"]),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_line(arguments: list[str], words: list[str]) -> None:
    ended = tune(*arguments)

    assert (ended.status, ended.output) == (2, "")
    for word in words:
        assert word in ended.one_line


def test_where_only_some_forwards_are_slow_the_machine_may_be_to_blame() -> None:
    miss = Miss(Curve("tiny", "10", ()), Point(1, 1, 300, 0.001, 0.004), 0.008)

    assert words_of_miss(miss, 0.002).endswith(
        "(by the median of its forwards 2 ms: has this machine other work?)"
    )
    assert "other work" not in words_of_miss(miss, 0.0019)


def test_a_picture_that_cannot_be_written_takes_nothing_of_the_rest_away(folder: Path) -> None:
    (folder / "curve.svg").mkdir()
    ended = tune("tiny", "--p99", "7ms", "--plot", "curve.svg")

    assert ended.status == 2
    assert ended.one_line == "seqserve: curve.svg cannot be written: Is a directory"
    assert "max_batch_size = 4" in ended.output


def test_a_damaged_archive_is_refused_as_by_serve(folder: Path) -> None:
    path = folder / "model-store" / "tiny-10.mar"
    path.write_bytes(path.read_bytes()[:-1])
    ended = tune("tiny", "--p99", "5ms")

    assert (ended.status, ended.output) == (2, "")
    assert "tiny-10.mar: SHA-256 is " in ended.one_line


def test_an_archive_that_nobody_trusted_has_attested_is_refused(folder: Path) -> None:
    (folder / "model-store").chmod(0o755)
    keys = trusting(folder / "trusted", release=Signer()).keys
    ended = tune("tiny", "--p99", "5ms", "--trusted-keys", str(keys))

    assert (ended.status, ended.output) == (2, "")
    assert "there is no tiny-10.mar.sig beside it" in ended.one_line


def test_only_the_embedded_engine_is_measured(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEQSERVE_ENGINE", "torchserve")
    ended = tune("tiny", "--p99", "5ms")

    assert (ended.status, ended.output) == (2, "")
    assert "engine: 'torchserve'; only the embedded engine is measured" in ended.one_line


def test_without_matplotlib_the_extra_is_named_before_anything_is_measured(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.delitem(sys.modules, "seqserve.tuning.plot", raising=False)
    environment.setitem(sys.modules, "matplotlib", None)
    ended = tune("tiny", "--p99", "7ms")

    assert (ended.status, ended.output) == (2, "")
    assert "the picture needs matplotlib (pip install 'seqserve[build]', or --no-plot)" in ended.one_line
    assert tune("tiny", "--p99", "7ms", "--no-plot").status == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5ms", 0.005), ("500us", 0.0005), ("500µs", 0.0005), ("0.005s", 0.005), ("5 ms", 0.005), ("1s", 1.0)],
)
def test_times_are_read_with_their_units(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "written", "enough"),
    [
        (0.00741, "7.41 ms", "7.5ms"),
        (0.0005, "500 us", "510us"),
        (2.0, "2 s", "2.1s"),
        (0.9999, "1 s", "1s"),
    ],
)
def test_times_are_written_in_the_unit_that_suits(seconds: float, written: str, enough: str) -> None:
    assert as_written(seconds) == written
    assert rounded_up(seconds) == enough
    assert parse_seconds(enough) > seconds


def test_the_file_in_the_document_is_one_that_the_gateway_takes(folder: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()
    lines = text.partition("```toml\n")[2].partition("```")[0]
    (folder / "seqserve.toml").write_text(lines)

    assert read_settings({}, folder / "seqserve.toml").of_model("digit_mlp").max_batch_size == 256
