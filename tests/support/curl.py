"""curl, the program: a REST client that everybody has."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Reply:
    """What curl received. headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def document(self) -> Any:
        """The JSON of the body, or the part of it before binary values."""
        length = self.headers.get("inference-header-content-length", len(self.body))
        return json.loads(self.body[: int(length)])

    def values(self) -> bytes:
        """What stands behind the JSON."""
        return self.body[int(self.headers["inference-header-content-length"]) :]


def curl(folder: Path, url: str, *options: str | Path) -> Reply:
    """Run it. Skips the test where it is not installed."""
    program = curl_path()
    head, body = folder / "head", folder / "body"
    body.unlink(missing_ok=True)
    subprocess.run(
        [
            program,
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--dump-header",
            head,
            "--output",
            body,
            *options,
            url,
        ],
        check=True,
    )
    # An interim "100 Continue" has a head of its own in front.
    last = head.read_text().replace("\r", "").strip().split("\n\n")[-1]
    status, *fields = last.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return Reply(int(status.split()[1]), headers, body.read_bytes() if body.exists() else b"")


def curl_path() -> str:
    """Where it is. Skips the test where it is not."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("no curl on this machine")
    return program


def curl_version() -> str:
    """As in `curl 8.5.0`."""
    told = subprocess.run([curl_path(), "--version"], capture_output=True, text=True, check=True)
    return " ".join(told.stdout.split()[:2])
