"""mosec: a Rust front, HTTP, raw bytes; once with batches and once without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.peers import programs
from bench.peers.installing import Environment
from bench.peers.model_files import ModelFiles
from bench.serving import HOST, Server, free_address, port_of, started
from bench.wires import Door, http_raw

BATCHED, SINGLE = "mosec, batch 32", "mosec, batch 1"
BATCHES = {BATCHED: 32, SINGLE: 1}
PROGRAM = Path(programs.__file__).with_name("mosec_server.py")
TIMEOUT_MS = 30_000


@contextmanager
def mosec(
    environment: Environment, files: ModelFiles, core: int, folder: Path
) -> Iterator[Mapping[str, Server]]:
    """Both, by label."""
    with ExitStack() as stack:
        yield {
            label: stack.enter_context(_one(environment, files, core, folder, batch))
            for label, batch in BATCHES.items()
        }


@contextmanager
def _one(
    environment: Environment, files: ModelFiles, core: int, folder: Path, batch: int
) -> Iterator[Server]:
    address, log = free_address(), folder / f"mosec-{batch}.log"
    command = [
        *(str(environment.python), str(PROGRAM), "--address", HOST, "--port", port_of(address)),
        *("--timeout", str(TIMEOUT_MS), "--log-level", "warning"),
    ]
    variables = files.variables | {"MOSEC_BATCH": str(batch)}
    with started(command, core, log, variables) as process:
        yield Server({"raw": Door(address, http_raw("/inference"))}, process, log)
