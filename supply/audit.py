"""`make audit`: the known vulnerabilities in all that is pinned here.

Exit status: 0 none, 1 some, 2 a file of ours is faulty, 3 it is not known, since the service was not reached,
did not answer in time or left something out. A vulnerability that is known counts more than a gap.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from supply.advisories import Advisory, Answer, ask
from supply.ignored import Ignored, IgnoredFaulty, read_ignored
from supply.pins import Pin, PinsFaulty, pin_of, read_pins

CLEAN, VULNERABLE, FAULTY, NO_DATA = 0, 1, 2, 3
SERVICE = "https://api.osv.dev/v1/query"
IGNORED = Path(__file__).parent / "ignored.toml"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status, after saying why."""
    given = _parser().parse_args(arguments)
    auditor = given.auditor or [sys.executable, "-m", "pip_audit"]
    auditor += ["--format", "json", "--progress-spinner", "off"]
    auditor += ["--vulnerability-service", "osv", "--osv-url", given.service]
    try:
        ignored = read_ignored(given.ignored)
        pinned = {path: read_pins(path) for path in given.requirements}
        torch = pin_of(given.torch)
    except (IgnoredFaulty, PinsFaulty, OSError) as error:
        print(f"audit: {error}", file=sys.stderr)
        return FAULTY
    answers = {str(path): ask(auditor, path, pins) for path, pins in pinned.items()}
    answers["torch"] = _ask_about(torch, auditor)
    return _report(answers, ignored, _count(pinned) + 1)


def _ask_about(torch: Pin, auditor: Sequence[str]) -> Answer:
    """No lock has a hash of torch. What follows + in its version is the build, which no advisory knows."""
    public = Pin(torch.name, torch.version.partition("+")[0])
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "torch.txt"
        alone.write_text(f"{public.name}=={public.version}\n")
        return ask(auditor, alone, {public.name: public})


def _report(answers: Mapping[str, Answer], ignored: Sequence[Ignored], packages: int) -> int:
    today = dt.datetime.now(dt.UTC).date()
    found = {advisory for answer in answers.values() for advisory in answer.advisories}
    open_ones = {
        one for one in found if not any(entry.covers(one.package, one.ids, today) for entry in ignored)
    }
    gaps = {what: answer.gap for what, answer in answers.items() if answer.gap}
    for one in sorted(open_ones, key=lambda one: (one.package, one.ids)):
        print(_line(one))
    if open_ones:
        print(f"audit: {len(open_ones)} known vulnerabilities (exit 1){_but(gaps)}", file=sys.stderr)
        return VULNERABLE
    if gaps:
        print(f"audit: not known whether anything is vulnerable (exit 3){_but(gaps)}", file=sys.stderr)
        return NO_DATA
    print(f"audit: nothing known against {packages} pins, {len(found)} ignored")
    return CLEAN


def _but(gaps: Mapping[str, str]) -> str:
    """The first reason stands for all: a service that is away is away for every file."""
    return f"; no data for {', '.join(gaps)}: {next(iter(gaps.values()))}" if gaps else ""


def _line(one: Advisory) -> str:
    fixed = f"fixed in {', '.join(one.fixed_in)}" if one.fixed_in else "not fixed"
    return f"{one.package} {one.version} {' '.join(one.ids)} {fixed}"


def _count(pinned: Mapping[Path, Mapping[str, Pin]]) -> int:
    return sum(len(pins) for pins in pinned.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m supply.audit", description=__doc__)
    parser.add_argument("requirements", nargs="+", type=Path, help="files of pip-compile")
    parser.add_argument("--torch", required=True, help="its pin, like torch==2.13.0; it is in no lock")
    parser.add_argument("--service", default=SERVICE, help="OSV's address for queries, or a mirror's")
    parser.add_argument("--ignored", default=IGNORED, type=Path)
    parser.add_argument("--auditor", nargs="+", help="pip-audit, where it is not this Python's")
    return parser


if __name__ == "__main__":
    sys.exit(main())
