"""`python -m supply.subset`: the part of the lock that a container image installs, with its hashes.

    python -m supply.subset --extras embedded otel --packages httpx

torch is in no lock, but what it needs is; it comes along with every extra that names torch.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from supply.pins import Pin, closure, read_pins
from supply.sbom import BASE, roots_of

ROOT = Path(__file__).parents[1]
TORCH = "torch"


def subset(
    project: Mapping[str, Any],
    locked: Mapping[str, Pin],
    *,
    extras: Collection[str] = (),
    packages: Collection[str] = (),
    with_base: bool = True,
) -> list[Pin]:
    """What is installed for those extras and packages, sorted by name; torch itself is left out.

    project: pyproject.toml's table of that name. with_base: what seqserve needs without extras as well.
    Raises ValueError for an extra that it has not, and for a package that is not pinned.
    """
    roots = roots_of(project)
    if unknown := sorted({*extras} - roots.keys()):
        raise ValueError(f"no extra {unknown[0]!r}; there are {', '.join(sorted(roots))}")
    pins = {**locked, TORCH: Pin(TORCH, "")}
    if unknown := sorted({*packages} - pins.keys()):
        raise ValueError(f"{unknown[0]!r} is not pinned")
    chosen = [*([BASE] if with_base else []), *extras]
    named = [*packages, *(name for extra in chosen for name in roots[extra])]
    return [locked[name] for name in sorted(closure(named, pins) - {TORCH})]


def to_text(pins: Sequence[Pin]) -> str:
    """A requirements file for `pip install --no-deps --require-hashes -r`."""
    return "".join(_line(pin) for pin in pins)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the requirements."""
    parser = argparse.ArgumentParser(prog="python -m supply.subset", description=__doc__)
    parser.add_argument("--extras", nargs="*", default=[], help="extras of pyproject.toml")
    parser.add_argument("--packages", nargs="*", default=[], help="further packages of the lock")
    parser.add_argument("--without-base", action="store_true", help="not what seqserve itself needs")
    given = parser.parse_args(arguments)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = subset(
        project, read_pins(ROOT / "requirements.lock"),
        extras=given.extras, packages=given.packages, with_base=not given.without_base,
    )  # fmt: skip
    sys.stdout.write(to_text(pins))
    return 0


def _line(pin: Pin) -> str:
    hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in pin.sha256)
    return f"{pin.name}=={pin.version}{hashes}\n"


if __name__ == "__main__":
    sys.exit(main())
