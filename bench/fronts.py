"""What the gateway reaches, against empty servers, the bare model and other servers: `make bench`.

The servers have one core, the C++ load generator another. All answers that are looked at must be the
archive's golden ones. Prints each trial, and writes performance.json, performance.md and performance.svg
unless --only a part was asked for. The exit status tells wrong answers and servers that failed (1) and
programs that cannot be built (2), never the speed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc
import psutil

from bench.building import NotBuilt, Programs, build_programs
from bench.generator import Generator, GeneratorFailed
from bench.labels import FRONTS, NATIVE
from bench.load import WrongAnswer, on_core
from bench.machine import facts, has_gpu, warn_of_other_work
from bench.measured import Measured
from bench.messages import golden_rows
from bench.native import missing_native
from bench.options import SHOWN, make_parser, read
from bench.page import PLOT, render
from bench.parts import PARTS, measure_parts
from bench.peers.starting import LABELS
from bench.plots import plot
from bench.reasons import ReasonsInvalid, read_reasons
from bench.record import Record
from bench.serving import ServerFailed
from bench.setting import Setting
from bench.store import MODEL, find_archive, store_of
from bench.targets import GPU
from bench.through import read_ratios
from bench.verdicts import Judged, without_reasons
from examples.demo.command import CommandFailed

EXAMPLES = (1, 256)
FINDINGS = Path(__file__).with_name("findings.md")
FAILURES = (
    *(CommandFailed, WrongAnswer, GeneratorFailed, ServerFailed, ReasonsInvalid),
    *(grpc.RpcError, psutil.Error, subprocess.CalledProcessError),
)


def say(line: str) -> None:
    """Progress, at once."""
    print(line, flush=True)


def measure(asked: argparse.Namespace, programs: Programs, folder: Path) -> Record:
    """All of it. Raises FAILURES."""
    reasons = read_reasons()
    setting = _setting(asked, programs, folder)
    warnings = warn_of_other_work([asked.server_core, asked.load_core])
    machine = facts()
    measured = Measured(forward=_forward(setting))
    measured.through, absent = read_ratios(machine, asked.output)
    measured.absent |= absent | absent_labels(asked.peers)
    measure_gpu(setting, measured)
    measure_parts(setting, tuple(asked.only), measured)
    return Record(machine, asked.seconds, asked.pairs, measured, warnings, reasons)


def _setting(asked: argparse.Namespace, programs: Programs, folder: Path) -> Setting:
    archive = find_archive(asked.model_store)
    rows = {(MODEL, size): golden_rows(archive, size) for size in EXAMPLES}
    return Setting(
        core=asked.server_core,
        load_core=asked.load_core,
        seconds=asked.seconds,
        pairs=asked.pairs,
        beside=asked.beside,
        archive=archive,
        store=store_of(archive, folder / "model-store"),
        folder=folder,
        generator=Generator(programs.loadgen, folder, rows),
        programs=programs,
        fronts={label: front for label, front in FRONTS.items() if label not in absent_labels(())},
        peers=asked.peers,
        say=say,
    )


def absent_labels(peers: Sequence[str]) -> dict[str, str]:
    """What cannot be measured, by label, with the reason."""
    unasked = {
        label: f'make bench PEERS="{name}" measures it'
        for name, labels in LABELS.items()
        if name not in peers
        for label in labels
    }
    return unasked | ({NATIVE: reason} if (reason := missing_native()) else {})


def _forward(setting: Setting) -> dict[int, float]:
    """Seconds of one pass, by examples."""
    command = [sys.executable, "-m", "bench.references.forward", str(setting.archive)]
    with on_core(setting.core):
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own
    return {int(size): float(seconds) for size, seconds in json.loads(done.stdout).items()}


def measure_gpu(setting: Setting, measured: Measured) -> None:
    """Pairs of the engine and the bare forward, or why there are none: a torch for CPUs may be installed."""
    if not has_gpu():
        measured.absent[GPU] = "no GPU here"
        return
    asked = [str(setting.archive), "cuda", str(setting.pairs)]
    with on_core(setting.core):
        done = subprocess.run(  # noqa: S603 - our own
            [sys.executable, "-m", "bench.references.engine", *asked],
            check=False,
            capture_output=True,
            text=True,
        )
    if done.returncode == 0:
        measured.gpu = [(float(ours), float(forward)) for ours, forward in json.loads(done.stdout)]
    else:
        said = done.stderr.splitlines() or ["no reason is given"]
        measured.absent[GPU] = f"the GPU that is here could not be used: {said[-1]}"


def write(record: Record, output: Path) -> None:
    """The three files."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "performance.json").write_text(record.to_json())
    (output / "performance.md").write_text(f"{render(record)}\n{FINDINGS.read_text()}")
    (output / PLOT).write_text(plot(record.measured.results))
    say(f"written: {output}/performance.md, .json and .svg")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs"), help=SHOWN)
    parser.add_argument("--beside", type=int, default=2, help=f"trials of what has no target {SHOWN}")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts; nothing is written")
    parser.add_argument("--peers", nargs="*", choices=tuple(LABELS), default=(), help="[default: none]")
    return read(parser)


def tell(judged: Sequence[Judged]) -> None:
    """What became of the targets, in lines; those that were not measured together by the reason."""
    unmeasured: dict[str, list[str]] = {}
    for each in judged:
        if each.ratio is None:
            unmeasured.setdefault(each.why, []).append(each.target.name)
            continue
        what = f"{each.target.what}, {each.against}" if each.against else each.target.what
        line = f"{each.verdict:9} {what}: {each.ratio}, target {each.target}"
        say(f"{line}: {each.why}" if each.why else line)
    for reason, names in unmeasured.items():
        say(f"not measured, {reason}: {', '.join(names)}")
    for target in without_reasons(judged):
        say(f"missed without a reason: write one for {target.name} in bench/reasons.toml")


def main() -> int:
    """Build, measure, write."""
    asked = read_arguments()
    try:
        programs = build_programs()
        if reason := missing_native():
            say(f"the native front is left out: {reason}")
        with on_core(asked.load_core), tempfile.TemporaryDirectory(prefix="seqserve-bench-") as folder:
            record = measure(asked, programs, Path(folder))
    except NotBuilt as error:
        print(error, file=sys.stderr)
        return 2
    except FAILURES as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    tell(record.judged)
    if set(asked.only) == set(PARTS):
        write(record, asked.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
