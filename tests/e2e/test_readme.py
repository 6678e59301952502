"""The README's commands and programs, run as they are written, but for the ports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from support.served import START_SECONDS, Served, environment, started

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ASKS_THE_GATEWAY = re.compile(r"^(seqserve (?:models|health|predict).*)$", re.MULTILINE)
PYTHON = Path(sys.executable)
SHELLS = {
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "python": [str(PYTHON), "-c"],
}


class Block(NamedTuple):
    """A block of the README."""

    language: str
    text: str


def blocks() -> list[Block]:
    """All of them, in their order, without the line that puts a clone's .venv on the path."""
    found = [Block(*groups) for groups in BLOCK.findall(README.read_text())]
    return [block for block in found if not block.text.startswith("export PATH")]


def run_block(block: Block, folder: Path) -> str:
    """What a block prints; it must succeed."""
    path = f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*SHELLS[block.language], block.text],
        cwd=folder,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}{done.stderr}"
    return done.stdout


def at(gateway: Served, text: str) -> str:
    """The same text with the ports of this gateway."""
    addresses = {
        "127.0.0.1:8001": gateway.grpc,
        "http://127.0.0.1:8000": gateway.http,
        "http://127.0.0.1:8080": gateway.torchserve,
    }
    for written, actual in addresses.items():
        text = text.replace(written, actual)
    return ASKS_THE_GATEWAY.sub(rf"\1 --address {gateway.grpc}", text)


def test_every_block_does_what_it_says(tmp_path: Path) -> None:
    found = blocks()
    position = [block.text.startswith("seqserve serve") for block in found].index(True)
    printed = [run_block(block, tmp_path) for block in found[:position]]
    _, _, *options = found[position].text.split()
    with started(tmp_path, Path("model-store"), *options, cwd=tmp_path) as gateway:
        gateway.wait_for("serving")
        printed += [
            run_block(block._replace(text=at(gateway, block.text)), tmp_path)
            for block in found[position + 1 :]
        ]
        assert gateway.end() == 0

    everything = "\n".join(printed)
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
