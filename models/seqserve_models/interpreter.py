"""A fresh Python interpreter for a step of a build that must not depend on this process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

TIMEOUT_SECONDS = 300
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
MAX_REASON_CHARACTERS = 500
_ERROR_LINE = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception):", re.MULTILINE)


class StepFailed(Exception):
    """The interpreter did not end well; the text is its own reason, on one line."""


def run_fresh(arguments: Sequence[str], *, folder: Path, variables: Mapping[str, str] = NO_VARIABLES) -> None:
    """Run this Python with `arguments` in a folder, with more environment variables. Raises StepFailed."""
    try:
        # -P: a file in that folder must not shadow a module.
        subprocess.run(  # noqa: S603  # this interpreter, arguments of ours
            [sys.executable, "-P", *arguments],
            cwd=folder,
            env={**os.environ, **variables},
            check=True,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise StepFailed(_reason(error.stderr) or f"exit status {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise StepFailed(f"no end after {TIMEOUT_SECONDS} seconds") from error


def _reason(told: str) -> str:
    """The last exception that a traceback names, with its whole text."""
    starts = [match.start() for match in _ERROR_LINE.finditer(told)]
    return " ".join(told[starts[-1] if starts else 0 :].split())[:MAX_REASON_CHARACTERS]
