"""`seqserve store` on the command line: what it prints, and its exit status."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqserve.lease import hold
from seqserve.signature import Signature
from support.archives import make_archive
from support.attesting import Signer, attest, trusting
from support.command import Ended, seqserve
from support.contract import signature_document

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["seqserve_models"] = None
from seqserve.cli import main
main()
"""


def store(command: str, folder: Path, *options: str) -> Ended:
    return seqserve("store", command, "--model-store", str(folder), *options)


def trained(folder: Path, training: dict[str, Any], name: str = "tiny", version: str = "1") -> Path:
    """An archive whose signature tells this of its training."""
    tiny = Signature.parse(signature_document("tiny_image"))
    return make_archive(folder, name, version, signature=tiny.model_copy(update={"training": training}))


def versions(folder: Path) -> list[Path]:
    """Two versions of a model."""
    return [make_archive(folder, version=version) for version in ("1", "2")]


def row_of(ended: Ended, name: str) -> list[str]:
    """The cells of a model's row."""
    [row] = [line.split() for line in ended.output.splitlines() if line.split()[:1] == [name]]
    return row


def corrupted(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


# ---- list ----


def test_the_list_shows_figures_and_the_hash_of_each_archive(tmp_path: Path) -> None:
    path = trained(tmp_path, {"dataset": "mnist", "metrics": {"test_accuracy": 0.98123}}, version="12")
    trained(tmp_path, {"metrics": {"test_mean_absolute_error": 0.25}}, "other")
    ended = store("list", tmp_path)
    sha256 = path.with_name("tiny-12.mar.sha256").read_text()[:12]
    assert (ended.status, ended.errors) == (0, "")
    assert row_of(ended, "tiny")[:2] + row_of(ended, "tiny")[3:] == [
        "tiny", "12", "mnist", "accuracy", "0.9812", "no", sha256
    ]  # fmt: skip
    assert row_of(ended, "other")[3:6] == ["mean_absolute_error", "0.25", "no"]


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"dataset": ["x"], "metrics": 3},
        {"metrics": {"a": "high", "b": None, "c": True}},
        {"dataset": "[/red]", "metrics": {"[bold]": 1}},
        {"dataset": "x\x1b[2J"},
    ],
    ids=str,
)
def test_whatever_an_archive_tells_of_its_training_the_list_goes_on(
    tmp_path: Path, training: dict[str, Any]
) -> None:
    trained(tmp_path, training)
    ended = store("list", tmp_path)
    assert (ended.status, ended.errors) == (0, "")
    assert row_of(ended, "tiny")[1] == "1"
    assert "\x1b" not in ended.output
    assert "[/red]" in ended.output or "[/red]" not in str(training)


def test_an_archive_that_is_not_sound_is_listed_with_the_reason(tmp_path: Path) -> None:
    corrupted(make_archive(tmp_path, "broken"))
    make_archive(tmp_path)
    ended = store("list", tmp_path)
    assert ended.status == 0
    assert row_of(ended, "broken")[:2] + row_of(ended, "broken")[-2:] == ["broken", "1", "not", "sound"]
    assert "\nbroken-1.mar: SHA-256 is " in ended.output
    assert row_of(ended, "tiny")[1] == "1"


def test_no_name_of_a_file_does_anything_to_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqserve.store.SECONDS_OF_A_PUBLISH", -1.0)
    for name in ("a\x1b]0;pwned\x07red\n2-1.mar", ".\x1b[2J.partial"):
        (tmp_path / name).write_bytes(b"x")
    path = tmp_path / "a\x1b]0;pwned\x07red\n2-1.mar"
    for ended in (store("list", tmp_path), store("verify", tmp_path), seqserve("inspect", str(path))):
        assert (ended.output + ended.errors).replace("\n", "").isprintable()
        assert "red?2-1.mar" in ended.output + ended.errors
    assert seqserve("inspect", str(path)).one_line
    path = trained(tmp_path, {"dataset": "x\x9b2J\u202e"})
    assert seqserve("inspect", str(path)).output.replace("\n", "").isprintable()


def test_the_list_says_what_is_served(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    with hold(path):
        assert "yes" in row_of(store("list", tmp_path), "tiny")
    assert "no" in row_of(store("list", tmp_path), "tiny")


@pytest.mark.parametrize("command", [["list"], ["verify"], ["prune", "--keep", "1"]])
def test_an_empty_store_is_no_fault_and_a_missing_one_is(tmp_path: Path, command: list[str]) -> None:
    empty = store(command[0], tmp_path, *command[1:])
    missing = store(command[0], tmp_path / "gone", *command[1:])
    assert (empty.status, missing.status) == (0, 2)
    assert "has no archives" in empty.output or command[0] == "prune"
    assert "no model store at" in missing.one_line
    assert "`--model-store` names another" in missing.one_line


def test_the_store_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_archive(tmp_path)
    monkeypatch.setenv("SEQSERVE_MODEL_STORE", str(tmp_path))
    assert row_of(seqserve("store", "list"), "tiny")


def test_it_needs_neither_torch_nor_the_build_side(tmp_path: Path) -> None:
    make_archive(tmp_path)
    for command in (["list"], ["verify"], ["prune", "--keep", "1"]):
        ended = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, "store", *command, "--model-store", tmp_path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")


# ---- verify ----


def test_verify_has_a_line_for_each_archive(tmp_path: Path) -> None:
    make_archive(tmp_path, version="1")
    broken = corrupted(make_archive(tmp_path, version="2"))
    ended = store("verify", tmp_path)
    first, second = ended.output.splitlines()
    assert first.startswith("tiny-1.mar: sound, sha256 ")
    assert second.startswith(f"{broken.name}: SHA-256 is ")
    assert ended.status == 1
    assert "1 of 2 archives" in ended.one_line


def test_verify_warns_of_a_hash_without_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_archive(tmp_path).unlink()
    monkeypatch.setattr("seqserve.store.SECONDS_OF_A_PUBLISH", -1.0)
    ended = store("verify", tmp_path)
    assert (ended.status, ended.errors) == (0, "")
    assert "tiny-1.mar.sha256: warning: left over" in ended.output


# ---- prune ----


def test_prune_says_what_went_and_how_much_that_frees(tmp_path: Path) -> None:
    paths = versions(tmp_path)
    freed = paths[0].stat().st_size + (tmp_path / "tiny-1.mar.sha256").stat().st_size
    dry = store("prune", tmp_path, "--keep", "1", "--dry-run")
    assert dry.output.splitlines()[0] == f"would remove {paths[0]}"
    assert paths[0].exists()
    ended = store("prune", tmp_path, "--keep", "1")
    assert ended == Ended(
        0, f"removed {paths[0]}\nremoved {paths[0]}.sha256\nremoved 2 files, {freed} bytes\n", ""
    )


def test_prune_says_what_it_keeps_because_it_is_served(tmp_path: Path) -> None:
    path = versions(tmp_path)[0]
    with hold(path):
        ended = store("prune", tmp_path, "--keep", "1")
    assert ended == Ended(0, f"kept {path}: a gateway serves it\nremoved 0 files, 0 bytes\n", "")


def test_prune_refuses_where_it_cannot_know_what_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = versions(tmp_path)[0]
    ended = store("prune", tmp_path, "--keep", "1")
    assert ended.status == 1
    assert f"kept {path}: whether a gateway serves it cannot be told here" in ended.output
    assert "could not be removed" in ended.one_line
    assert path.exists()


def test_at_least_one_version_stays(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    for keep in ("0", "-1", "many"):
        assert store("prune", tmp_path, "--keep", keep).status == 2
    assert store("prune", tmp_path).status == 2
    assert path.exists()


def test_with_a_gateways_file_prune_takes_its_store_and_keeps_what_its_labels_name(tmp_path: Path) -> None:
    for version in ("1", "2", "3"):
        make_archive(tmp_path, version=version)
    config = tmp_path / "seqserve.toml"
    config.write_text(f'model_store = "{tmp_path}"\n[models.tiny]\nlabels = {{ stable = 1 }}\n')

    ended = seqserve("store", "prune", "--keep", "1", "--config", str(config))

    assert ended.status == 0, ended.errors
    assert sorted(path.name for path in tmp_path.glob("*.mar")) == ["tiny-1.mar", "tiny-3.mar"]
    assert "a label or a weight" in ended.output


# ---- with trusted keys ----


@pytest.fixture
def release() -> Signer:
    return Signer()


@pytest.fixture
def keys(tmp_path: Path, release: Signer) -> Path:
    return trusting(tmp_path / "trusted", release=release).keys


def test_list_and_verify_say_by_which_key_an_archive_is_attested(
    tmp_path: Path, keys: Path, release: Signer
) -> None:
    attest(make_archive(tmp_path), release)
    make_archive(tmp_path, "stray", "7")
    listed = store("list", tmp_path, "--trusted-keys", str(keys))
    assert row_of(listed, "tiny")[-1] == release.key_id
    stray = row_of(listed, "stray")
    assert (stray[:2], stray[-3:]) == (["stray", "7"], ["no", "not", "attested"])
    assert "\nstray-7.mar: there is no stray-7.mar.sig beside it" in listed.output
    assert "sound" not in listed.output

    verified = store("verify", tmp_path, "--trusted-keys", str(keys))
    assert (verified.status, verified.one_line) == (
        1,
        f"seqserve: 1 of 2 archives in {tmp_path}: not attested",
    )
    assert verified.output.splitlines()[1].endswith(f", attested by {release.key_id}")
    assert store("verify", tmp_path).status == 0


def test_the_keys_may_come_from_the_environment_and_must_be_usable(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_archive(tmp_path)
    monkeypatch.setenv("SEQSERVE_TRUSTED_KEYS", str(keys))
    assert store("verify", tmp_path).status == 1
    monkeypatch.setenv("SEQSERVE_TRUSTED_KEYS", str(keys / "gone.pub"))
    ended = store("verify", tmp_path)
    assert ended.status == 2
    assert "gone.pub: it cannot be read: No such file" in ended.one_line


@pytest.mark.parametrize("source", ["option", "config"])
def test_prune_does_not_count_what_nobody_trusted_has_attested(
    tmp_path: Path, keys: Path, release: Signer, source: str
) -> None:
    first, second = versions(tmp_path)
    attest(first, release)
    config = tmp_path / "seqserve.toml"
    config.write_text(f'model_store = "{tmp_path}"\ntrusted_keys = "{keys}"\n')
    options = ["--config", str(config)] if source == "config" else ["--trusted-keys", str(keys)]
    assert store("prune", tmp_path, "--keep", "1", *options).status == 0
    assert first.exists()

    attest(second, release)
    assert store("prune", tmp_path, "--keep", "1", *options).status == 0
    assert not first.exists()
    assert not first.with_name("tiny-1.mar.sig").exists()
