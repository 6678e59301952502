"""What pip-audit says about the packages of a requirements file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supply.pins import Pin

SECONDS = 300
"""One service is asked about each package in turn; with 15 s for each answer, a dead one is given up here."""
UNREAD = "OSV vuln entry"
"""How pip-audit's warning begins when it leaves an advisory out that it does not understand."""
SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Advisory:
    """A known vulnerability of a package. ids: its id, then aliases. fixed_in: versions, lowest first."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of some packages. gap: why that is not all that the service knows, or ""."""

    advisories: tuple[Advisory, ...] = ()
    gap: str = ""


def ask(
    auditor: Sequence[str], requirements: Path, pins: Mapping[str, Pin], seconds: float = SECONDS
) -> Answer:
    """About all pins, which the requirements file holds. auditor: pip-audit and its options."""
    has_hashes = all(pin.sha256 for pin in pins.values())
    options = ["--disable-pip", *([] if has_hashes else ["--no-deps"]), "--requirement", str(requirements)]
    try:
        done = subprocess.run(  # noqa: S603 - the caller's program
            [*auditor, *options], capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return Answer(gap=f"no answer within {seconds:g} seconds")
    except OSError as error:
        return Answer(gap=f"{auditor[0]}: {error.strerror}")
    return _read(done.stdout, done.stderr, pins)


def _read(printed: str, complaints: str, pins: Mapping[str, Pin]) -> Answer:
    """Read what it printed, since it exits with 1 for a vulnerability as well as for a fault."""
    try:
        answers: list[dict[str, Any]] = json.loads(printed)["dependencies"]
        advisories = tuple(found for answer in answers for found in _advisories(answer))
        return Answer(advisories, _gap(answers, pins, complaints))
    except (ValueError, TypeError, KeyError):
        last = (complaints.strip().splitlines() or ["pip-audit said nothing"])[-1]
        return Answer(gap=last.removeprefix("requests.exceptions.")[:SHOWN_CHARACTERS])


def _gap(answers: list[dict[str, Any]], pins: Mapping[str, Pin], complaints: str) -> str:
    told = {(answer["name"], answer["version"]) for answer in answers if "skip_reason" not in answer}
    missing = sorted(name for name, pin in pins.items() if (name, pin.version) not in told)
    if missing:
        return f"nothing about {', '.join(missing)}"[:SHOWN_CHARACTERS]
    return "an advisory that pip-audit does not understand" if UNREAD in complaints else ""


def _advisories(answer: dict[str, Any]) -> list[Advisory]:
    return [
        Advisory(
            answer["name"],
            answer["version"],
            (found["id"], *found.get("aliases", [])),
            tuple(found["fix_versions"]),
        )
        for found in answer.get("vulns", [])
    ]
