"""The blocks of our Markdown documents, run as they are written, but for the ports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from support.served import START_SECONDS, Served, environment, started

BLOCK = re.compile(
    r"^```(bash|python)\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
FENCE = re.compile(r"^```(\w+)$", re.MULTILINE)
ASKS_THE_GATEWAY = re.compile(r"^(seqserve (?:models|health|predict).*)$", re.MULTILINE)
SERVES = "seqserve serve"
PYTHON = Path(sys.executable)
SHELLS = {
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "python": [str(PYTHON), "-c"],
}


class Block(NamedTuple):
    """A block of a document. shown: what the document says that it prints, or "" where it does not say."""

    language: str
    text: str
    shown: str = ""

    @property
    def serves(self) -> bool:
        """Whether it starts the gateway, in the foreground."""
        return self.text.startswith(SERVES)


def blocks(document: Path) -> list[Block]:
    """All of them, in their order, without the line that puts a clone's .venv on the path."""
    found = [Block(*groups) for groups in BLOCK.findall(document.read_text())]
    return [block for block in found if not block.text.startswith("export PATH")]


def languages(document: Path) -> list[str]:
    """Of every fence that names one, in their order."""
    return FENCE.findall(document.read_text())


def run_document(document: Path, folder: Path) -> str:
    """What all blocks print, one after the other in one folder; those behind `seqserve serve` have a gateway."""
    found = blocks(document)
    position = [block.serves for block in found].index(True)
    printed = [run_block(block, folder) for block in found[:position]]
    _, _, *options = found[position].text.split()
    with started(folder, Path("model-store"), *options, cwd=folder) as gateway:
        gateway.wait_for("serving")
        printed += [run_block(at(gateway, block), folder) for block in found[position + 1 :]]
        assert gateway.end() == 0, gateway.log.read_text()
    return "\n".join(printed)


def run_block(block: Block, folder: Path) -> str:
    """What a block prints, warnings and errors too; it must succeed, and print what the document shows."""
    path = f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*SHELLS[block.language], block.text],
        cwd=folder,
        env=environment(PATH=path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}"
    printed = set(_lines(done.stdout))
    missing = [line for line in _lines(block.shown) if line not in printed]
    assert not missing, f"{block.text}\nshows {missing}, prints\n{done.stdout}"
    return done.stdout


def at(gateway: Served, block: Block) -> Block:
    """The same block with the ports of this gateway."""
    addresses = {
        "127.0.0.1:8001": gateway.grpc,
        "127.0.0.1:9101": gateway.grpc,  # the port for administrators, in the documents
        "http://127.0.0.1:8000": gateway.http,
        "https://127.0.0.1:8000": gateway.http.replace("http:", "https:"),
    }
    if "http://127.0.0.1:8080" in block.text:
        addresses["http://127.0.0.1:8080"] = gateway.torchserve
    if "http://127.0.0.1:8081" in block.text:
        addresses["http://127.0.0.1:8081"] = gateway.torchserve_management
    text = block.text
    for written, actual in addresses.items():
        text = text.replace(written, actual)
    return block._replace(text=ASKS_THE_GATEWAY.sub(rf"\1 --address {gateway.grpc}", text))


def _lines(text: str) -> list[str]:
    """Not empty, and with one space where a table has many."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
