"""The packages that a requirements file of pip-compile pins, with their hashes and what needs them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = r"[a-z0-9]+(?:-[a-z0-9]+)*"
PIN = re.compile(rf"({NAME})==([0-9][0-9A-Za-z.!+]*)((?: \\\n {{4}}--hash=sha256:[0-9a-f]{{64}})+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
ALONE = re.compile(rf"({NAME})==([0-9][0-9A-Za-z.!+]*)")
SOURCE = re.compile(r" {4}# (?:via|  ) ?([^ ].*)")
VIA = "    # via"


class PinsFaulty(ValueError):
    """A requirements file that is not what pip-compile writes with --generate-hashes."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One package. name: normalized. sha256: of each of its files, in hex; none where pip checks none.

    needed_by: names of packages that need it, and, as pip-compile writes them, of files that name it.
    """

    name: str
    version: str
    sha256: tuple[str, ...] = ()
    needed_by: frozenset[str] = frozenset()


def read_pins(path: Path) -> dict[str, Pin]:
    """All packages of a requirements file, by name. Raises PinsFaulty, OSError."""
    text = path.read_text()
    found = list(PIN.finditer(text))
    _check_complete(path, text, [match[1] for match in found])
    ends = [match.start() for match in found[1:]] + [len(text)]
    return {
        match[1]: Pin(match[1], match[2], tuple(HASH.findall(match[3])), _sources(text[match.end() : end]))
        for match, end in zip(found, ends, strict=True)
    }


def pin_of(requirement: str) -> Pin:
    """What one line like `torch==2.13.0 --index-url …` pins; options are not looked at. Raises PinsFaulty."""
    words = requirement.split()
    found = ALONE.fullmatch(words[0]) if words else None
    if found is None:
        raise PinsFaulty(f"{requirement!r} is not like torch==2.13.0")
    return Pin(found[1], found[2])


def closure(roots: Iterable[str], pins: Mapping[str, Pin]) -> frozenset[str]:
    """The roots that are pinned, and all that they need, by name."""
    needs = requirements_of(pins)
    reached: set[str] = set()
    waiting = [root for root in roots if root in pins]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += needs[name]
    return frozenset(reached)


def requirements_of(pins: Mapping[str, Pin]) -> dict[str, list[str]]:
    """What each package needs itself, sorted."""
    return {name: sorted(pin.name for pin in pins.values() if name in pin.needed_by) for name in pins}


def _check_complete(path: Path, text: str, names: list[str]) -> None:
    """For pip would install a line without a hash, or one that is no pin, just as well."""
    unread = [line for line in PIN.sub("", text).splitlines() if line.strip() and line.lstrip()[0] != "#"]
    if unread:
        raise PinsFaulty(f"{path}: {unread[0].strip()!r} is no pin with SHA-256 hashes")
    if not names or len(set(names)) < len(names):
        raise PinsFaulty(f"{path} pins nothing, or something twice")


def _sources(comments: str) -> frozenset[str]:
    """pip-compile's `# via`: of one source in its own line, of several in a line each."""
    after_via = comments.partition(VIA)
    lines = f"{VIA}{after_via[2]}".splitlines() if after_via[1] else []
    return frozenset(match[1].strip() for line in lines if (match := SOURCE.fullmatch(line)))
