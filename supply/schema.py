"""Holds a file against CycloneDX's own JSON schema; exit status 1 and the fault where it does not fit."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main(path: Path) -> int:
    """The exit status, after naming the first fault."""
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text())
    if fault is not None:
        print(f"{path}: {fault}", file=sys.stderr)
        return 1
    print(f"{path}: valid CycloneDX {SchemaVersion.V1_6.to_version()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
