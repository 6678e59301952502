"""What the gateway's fronts reach, against empty servers and the bare model: `make bench`.

The server has one core, the C++ load generator another. All answers that are looked at must be the archive's
golden ones. Prints each trial, and writes performance.json, performance.md and performance.svg unless --only
a part was asked for. The exit status tells wrong answers and servers that failed (1) and programs that cannot
be built (2), never the speed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import grpc
import psutil

from bench.building import NotBuilt, Programs, build_programs
from bench.generator import Generator, GeneratorFailed
from bench.load import WrongAnswer, on_core
from bench.machine import facts, warn_of_other_work
from bench.messages import golden_rows
from bench.options import SHOWN, make_parser, read
from bench.page import PLOT, render
from bench.plots import plot
from bench.record import Record
from bench.serving import Server, ServerFailed, empty_aio, empty_cpp, first_right_answer, gateway
from bench.starts import Starts
from bench.store import find_archive, store_of_one
from bench.trials import AIO, CPP, GATEWAY, ROUNDS, Bench, Results, run_turns
from examples.demo.command import CommandFailed

EXAMPLES = (1, 256)
STARTS = "starts"
FINDINGS = Path(__file__).with_name("findings.md")
FAILURES = (
    *(CommandFailed, WrongAnswer, GeneratorFailed, ServerFailed),
    *(grpc.RpcError, psutil.Error, subprocess.CalledProcessError),
)


def say(line: str) -> None:
    """Progress, at once."""
    print(line, flush=True)


def measure(asked: argparse.Namespace, programs: Programs, folder: Path) -> Record:
    """All of it. Raises FAILURES."""
    archive = find_archive(asked.model_store)
    warnings = warn_of_other_work([asked.server_core, asked.load_core])
    store = store_of_one(archive, folder)
    generator = Generator(programs.loadgen, folder, {size: golden_rows(archive, size) for size in EXAMPLES})
    forward = _forward(archive, asked.server_core)
    results = _rounds(asked, programs, generator, store)
    pairs = asked.pairs if STARTS in asked.only else 0
    starts = Starts(store, asked.server_core, folder, generator).measure(pairs, say)
    return Record(facts(), asked.seconds, asked.pairs, results, starts, forward, warnings)


def _rounds(asked: argparse.Namespace, programs: Programs, generator: Generator, store: Path) -> Results:
    rounds = [ROUNDS[name] for name in asked.only if name != STARTS]
    turns = [point for each in rounds for point in each.turns(asked.pairs, asked.beside)]
    with ExitStack() as stack:
        servers = _servers(stack, asked.server_core, programs, generator, store)
        return run_turns(Bench(generator, servers, asked.seconds), turns, say)


def _servers(
    stack: ExitStack, core: int, programs: Programs, generator: Generator, store: Path
) -> Mapping[tuple[str, int], Server]:
    """The gateway, and for each size of request the empty servers, which send the gateway's reply to it."""
    ours = stack.enter_context(gateway(store, core, generator.folder))
    servers: dict[tuple[str, int], Server] = {}
    for size, rows in generator.rows.items():
        reply = generator.folder / f"reply-{size}"
        reply.write_bytes(first_right_answer(ours, rows))
        aio = stack.enter_context(empty_aio(reply, core))
        cpp = stack.enter_context(empty_cpp(programs.empty_server, reply, core))
        servers |= {(GATEWAY, size): ours, (AIO, size): aio, (CPP, size): cpp}
        for empty in (aio, cpp):
            first_right_answer(empty, rows)
    return servers


def _forward(archive: Path, core: int) -> dict[int, float]:
    """Seconds of one pass, by examples."""
    command = [sys.executable, "-m", "bench.references.forward", str(archive)]
    with on_core(core):
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own
    return {int(size): float(seconds) for size, seconds in json.loads(done.stdout).items()}


def write(record: Record, output: Path) -> None:
    """The three files."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "performance.json").write_text(record.to_json())
    (output / "performance.md").write_text(f"{render(record)}\n{FINDINGS.read_text()}")
    (output / PLOT).write_text(plot(record.results))
    say(f"written: {output}/performance.md, .json and .svg")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs"), help=SHOWN)
    parser.add_argument("--beside", type=int, default=2, help=f"trials of what has no target {SHOWN}")
    parts = (*ROUNDS, STARTS)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="parts, nothing is written")
    return read(parser)


def main() -> int:
    """Build, measure, write."""
    asked = read_arguments()
    try:
        programs = build_programs()
        with on_core(asked.load_core), tempfile.TemporaryDirectory(prefix="seqserve-bench-") as folder:
            record = measure(asked, programs, Path(folder))
    except NotBuilt as error:
        print(error, file=sys.stderr)
        return 2
    except FAILURES as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    for each in record.judged:
        say(f"{each.verdict:9} {each.target.what}: {each.ratio}, target {each.target}")
    if set(asked.only) == {*ROUNDS, STARTS}:
        write(record, asked.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
