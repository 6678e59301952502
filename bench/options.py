"""What every measurement in pairs is told on its command line: how long, how many, on which cores."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bench.pairs import FEWEST_PAIRS

MOST_SECONDS = 3600
SHOWN = "[default: %(default)s]"


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """With the options that all of them have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model-store", type=Path, default=Path("model-store"), help=SHOWN)
    parser.add_argument("--seconds", type=float, default=5.0, help=f"of each measurement {SHOWN}")
    parser.add_argument("--pairs", type=int, default=7, help=f"for each ratio {SHOWN}")
    parser.add_argument("--server-core", type=int, default=0, help=SHOWN)
    parser.add_argument("--load-core", type=int, default=1, help=SHOWN)
    return parser


def read(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What was asked; exits with 2 for what cannot be measured so, and for cores that are not here."""
    asked = parser.parse_args()
    if not MOST_SECONDS >= asked.seconds > 0:
        parser.error(f"--seconds {asked.seconds:g}: above 0 and at most {MOST_SECONDS}")
    if asked.server_core == asked.load_core:
        parser.error(f"--server-core and --load-core are both {asked.load_core}: they take two cores")
    if asked.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs {asked.pairs}: at least {FEWEST_PAIRS}, for an interval of 95 %")
    if missing := {asked.server_core, asked.load_core} - os.sched_getaffinity(0):
        parser.error(f"no core {min(missing)} here: name two with --server-core and --load-core")
    return asked
