"""Why targets are missed: bench/reasons.toml, which people write."""

from __future__ import annotations

import tomllib
from pathlib import Path

from bench.targets import TARGETS

FILE = Path(__file__).with_name("reasons.toml")


class ReasonsInvalid(Exception):
    """The file does not say what it should; the text says what is wrong."""


def read_reasons(file: Path = FILE) -> dict[str, str]:
    """Sentences by a target's name. Raises ReasonsInvalid."""
    try:
        written = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ReasonsInvalid(f"{file.name}: {error}") from error
    if unknown := sorted(written.keys() - {target.name for target in TARGETS}):
        raise ReasonsInvalid(f"{file.name}: no target is called {', '.join(unknown)}")
    if wordless := sorted(name for name, said in written.items() if not isinstance(said, str) or not said):
        raise ReasonsInvalid(f"{file.name}: {', '.join(wordless)}: a sentence is accepted")
    return written
