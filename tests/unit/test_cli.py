"""The command line: its help, its exit statuses, and one line for whatever goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from seqserve import __version__
from seqserve.cli import COMMANDS
from seqserve.cli import inspect as inspect_module
from seqserve.settings import SECTIONS, Settings
from seqserve.signature import Signature
from support.archives import make_archive
from support.attesting import Signer, attest, trusting
from support.command import Ended, seqserve
from support.contract import signature_document

EXAMPLES = {
    "build": "seqserve build digit_mlp",
    "check": "seqserve check digit_mlp --input-shape 784",
    "new": "seqserve new my_model",
    "package": "seqserve package trained.pt --signature signature.json",
    "keys": "seqserve keys new release",
    "tokens": "seqserve tokens new phone",
    "attest": "seqserve attest model-store/*.mar --signing-key keys/release.key",
    "tune": "seqserve tune digit_mlp --p99 5ms",
    "serve": "seqserve serve --with-torchserve",
    "config": "seqserve config --config seqserve.toml",
    "predict": "seqserve predict seven.png",
    "models": "seqserve models --address 127.0.0.1:8001",
    "health": "seqserve health model/digit_mlp",
    "store": "seqserve store prune --keep 3",
    "doctor": "seqserve doctor --config seqserve.toml --json",
    "inspect": "seqserve inspect model-store/digit_mlp-1.mar",
}
AFTER_HELP = """
import sys
from seqserve.cli import main
try:
    main()
finally:
    print(sorted({"torch", "grpc", "numpy", "seqserve_models"} & set(sys.modules)))
"""


pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """`serve` sets them up for a program, not for other tests."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def corrupt(tmp_path: Path) -> Path:
    """An archive with one byte changed."""
    path = make_archive(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def test_help_names_every_command_and_every_exit_status() -> None:
    ended = seqserve("--help")

    assert (ended.status, ended.errors) == (0, "")
    for command in COMMANDS:
        assert f"\n  {command} " in ended.output
    for status in ("0 ", "1 ", "2 ", "70 ", "130 "):
        assert f"\n    {status}" in ended.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    ended = seqserve(command, "--help")

    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.startswith(f"Usage: seqserve {command} ")
    assert EXAMPLES[command] in ended.output
    assert "\b" not in ended.output


def test_the_help_of_serve_shows_every_option_with_its_default() -> None:
    words = seqserve("serve", "--help").output.split()

    for name in Settings.model_fields.keys() - SECTIONS:
        assert f"--{name.replace('_', '-')}" in words
    assert "8001]" in words
    assert "30.0]" in words


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", AFTER_HELP, "--help"], capture_output=True, text=True, check=True
    )

    assert ended.stdout.splitlines()[-1] == "[]"


def test_the_version_is_told() -> None:
    assert seqserve("--version") == Ended(0, f"seqserve, version {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("train",),
        ("serve", "--port", "1"),
        ("build",),
        ("predict",),
        ("predict", "nowhere.png"),
        ("inspect",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_status_2_and_one_line_that_names_the_help(arguments: tuple[str, ...]) -> None:
    ended = seqserve(*arguments)

    assert (ended.status, ended.output) == (2, "")
    assert "--help`)" in ended.one_line


@pytest.mark.parametrize(("key", "shown"), [("any_size", ("true", "false")), ("negative", ("false", "true"))])
def test_what_is_done_to_pictures_is_shown(tmp_path: Path, key: str, shown: tuple[str, str]) -> None:
    path = make_archive(tmp_path, signature=Signature.parse(signature_document(key)))
    ended = seqserve("inspect", str(path))

    assert f'"resize": {shown[0]},\n  "invert": {shown[1]},' in ended.output


def test_a_sound_archive_is_shown(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    ended = seqserve("inspect", str(path))

    assert (ended.status, ended.errors) == (0, "")
    first, _, signature = ended.output.partition("\n")
    digest = path.with_name("tiny-1.mar.sha256").read_text().split()[0]
    assert first == f"{path}: all hashes agree, sha256 {digest}"
    assert json.loads(signature)["input"] == {"name": "image", "datatype": "FP32", "shape": [-1, 6]}


def test_inspect_says_by_which_trusted_key_an_archive_is_attested(tmp_path: Path) -> None:
    release = Signer()
    path, keys = make_archive(tmp_path), trusting(tmp_path / "trusted", release=release).keys
    ended = seqserve("inspect", str(path), "--trusted-keys", str(keys))
    assert (ended.status, ended.output) == (1, "")
    assert "there is no tiny-1.mar.sig beside it" in ended.one_line

    attest(path, release)
    ended = seqserve("inspect", str(path), "--trusted-keys", str(keys))
    assert ended.status == 0
    assert ended.output.splitlines()[0].endswith(f", attested by {release.key_id}")


def test_a_corrupt_archive_is_exit_status_1_and_one_line_with_the_reason(corrupt: Path) -> None:
    ended = seqserve("inspect", str(corrupt))

    assert (ended.status, ended.output) == (1, "")
    assert "tiny-1.mar: SHA-256 is " in ended.one_line
    assert "build or copy it again" in ended.one_line


def test_with_debug_there_is_a_traceback_and_the_same_exit_status(corrupt: Path) -> None:
    ended = seqserve("--debug", "inspect", str(corrupt))

    assert ended.status == 1
    assert ended.errors.startswith("Traceback ")
    assert "read_archive" in ended.errors
    assert "seqserve.errors.ArchiveInvalid: tiny-1.mar: " in ended.errors


def test_what_nobody_foresaw_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of all things")

    monkeypatch.setattr(inspect_module, "read_archive", fail)

    ended = seqserve("inspect", __file__)

    assert ended.status == 1
    assert ended.one_line == "seqserve: unexpected RuntimeError: of all things (--debug shows where)"


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_interrupt_is_exit_status_130(monkeypatch: pytest.MonkeyPatch, *, wrapped: bool) -> None:
    def interrupt(*_: object) -> None:
        try:
            raise KeyboardInterrupt  # noqa: TRY301 - it is what is wrapped
        except KeyboardInterrupt as error:
            if wrapped:  # as Python does for one that comes while a class is being made
                raise RuntimeError("Error calling __set_name__") from error
            raise

    monkeypatch.setattr(inspect_module, "read_archive", interrupt)

    ended = seqserve("inspect", __file__)

    assert ended.status == 130
    assert ended.errors.strip() == "seqserve: interrupted"


def test_debug_may_stand_anywhere(corrupt: Path) -> None:
    ended = seqserve("inspect", str(corrupt), "--debug")

    assert ended.status == 1
    assert "Traceback" in ended.errors


def test_a_reader_who_leaves_ends_the_command_quietly(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from seqserve.cli import main; main()",
        "inspect",
        str(make_archive(tmp_path)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.stderr is not None
        assert running.stderr.read() == b""

    assert running.returncode == 1


def test_serving_without_a_store_is_exit_status_2_with_a_hint(tmp_path: Path) -> None:
    ended = seqserve("serve", "--model-store", str(tmp_path / "nowhere"))

    assert (ended.status, ended.output) == (2, "")
    assert "there is no model store at" in ended.one_line
    assert "(`seqserve build` makes one; `--model-store` names another)" in ended.one_line


def test_serving_with_several_bad_settings_names_them_all(tmp_path: Path) -> None:
    config = tmp_path / "seqserve.toml"
    config.write_text("max_queue_size = 0\nqueue = 1\n")
    ended = seqserve("serve", "--grpc-port", "70000", "--engine", "magic", "--config", str(config))

    assert (ended.status, ended.output) == (2, "")
    for name in ("grpc_port", "engine", "max_queue_size", "queue"):
        assert f"{name}: " in ended.one_line
    assert "(see `seqserve serve --help`)" in ended.one_line


def test_serving_with_a_missing_config_is_exit_status_2(tmp_path: Path) -> None:
    ended = seqserve("serve", "--config", str(tmp_path / "nowhere.toml"))

    assert ended.status == 2
    assert "nowhere.toml" in ended.one_line
