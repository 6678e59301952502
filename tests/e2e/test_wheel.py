"""The wheel without extras, in an environment of its own: client and gateway, and no torch."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from seqserve import __version__
from seqserve.archive import read_archive
from seqserve.trust import UNCHECKED
from supply.pins import closure, read_pins
from supply.sbom import BASE, roots_of
from support.served import Served, plain_lines, run

ROOT = Path(__file__).parents[2]
# Its extra `grpc` would add `packaging`, and a protobuf older than the lock's.
TRITONCLIENT = ("tritonclient", "packaging")
ASK = """
import sys
import numpy as np
import tritonclient.grpc as triton
from seqserve.client import Client

address, rows_path, answers_path = sys.argv[1:]
rows = np.load(rows_path)
with Client(address) as client:
    ours = client.predict(rows, model="digit_mlp", top_k=1)
image = triton.InferInput("image", list(rows.shape), "FP32")
image.set_data_from_numpy(rows)
theirs = triton.InferenceServerClient(address).infer("digit_mlp", [image]).as_numpy("probabilities")
assert [int(answer.label) for answer in ours.answers] == theirs.argmax(axis=1).tolist()
np.save(answers_path, np.stack([answer.values for answer in ours.answers]))
"""


def requirements() -> str:
    """What the wheel and tritonclient need, by the lock, with its hashes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = read_pins(ROOT / "requirements.lock")
    needed = closure([*roots_of(project)[BASE], *TRITONCLIENT], pins)
    hashes = {name: "".join(f" --hash=sha256:{digest}" for digest in pins[name].sha256) for name in needed}
    return "\n".join(f"{name}=={pins[name].version}{hashes[name]}" for name in sorted(needed))


def checked(*command: str | Path) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of a fresh environment: the wheel, what it needs, and tritonclient."""
    folder = tmp_path_factory.mktemp("wheel")
    checked(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    [wheel] = folder.glob("seqserve-*.whl")
    checked(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    (folder / "needed.txt").write_text(requirements())
    programs = folder / "venv" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", programs / "python")
    install = (*pip, "install", "--no-compile", "--no-deps")
    checked(*install, "--require-hashes", "--requirement", folder / "needed.txt")
    checked(*install, wheel)
    checked(*pip, "check")
    return programs


def test_the_command_is_there_and_knows_its_version(bare: Path) -> None:
    ended = run("--version", program=bare / "seqserve")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"seqserve, version {__version__}\n", "")


@pytest.mark.parametrize("module", ["torch", "ts", "sklearn", "httpx"])
def test_nothing_of_an_extra_is_installed(bare: Path, module: str) -> None:
    ended = run("-c", f"import {module}", program=bare / "python")

    assert f"No module named '{module}'" in ended.stderr


def test_our_client_and_tritonclient_predict_in_one_process(
    bare: Path, gateway: Served, store: Path, tmp_path: Path
) -> None:
    archive = read_archive(store / "digit_mlp-1.mar", UNCHECKED)
    rows, answers = tmp_path / "rows.npy", tmp_path / "answers.npy"
    np.save(rows, archive.golden_inputs)

    ended = run("-c", ASK, gateway.grpc, rows, answers, program=bare / "python")

    assert ended.returncode == 0, ended.stderr
    np.testing.assert_allclose(np.load(answers), archive.golden_outputs, rtol=1e-5, atol=1e-5)


def test_the_commands_of_the_client_work_there(bare: Path, gateway: Served, store: Path) -> None:
    listed = run("models", "--address", gateway.grpc, program=bare / "seqserve")
    inspected = run("inspect", store / "digit_mlp-1.mar", program=bare / "seqserve")

    assert (listed.returncode, inspected.returncode) == (0, 0)
    assert "digit_mlp" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "needed", "extra"),
    [
        (("serve",), "torch", "embedded"),
        (("serve", "--engine", "torchserve"), "the torchserve engine needs", "torchserve"),
        (("build", "digit_mlp"), "torch", "build"),
    ],
    ids=["serve", "serve with TorchServe", "build"],
)
def test_what_needs_an_extra_says_which_in_one_line(
    bare: Path, store: Path, arguments: tuple[str, ...], needed: str, extra: str
) -> None:
    serving = ["--model-store", str(store), "--grpc-port=0", "--http-port=0"]
    options = serving if arguments[0] == "serve" else []
    ended = run(*arguments, *options, program=bare / "seqserve")

    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = plain_lines(ended.stderr)
    assert line.startswith("seqserve: ")
    assert needed in line
    assert f"pip install 'seqserve[{extra}]'" in line
