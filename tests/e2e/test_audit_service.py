"""pip-audit itself, against a stand-in for OSV on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-audit" / "bin" / "python"
REQUIREMENTS = "supply/requirements.txt"
ADVISORY = {
    "id": "PYSEC-2026-1",
    "schema_version": "1.6.0",
    "published": "2026-01-01T00:00:00Z",
    "aliases": ["CVE-2026-1"],
    "summary": "made up",
    "affected": [
        {
            "package": {"name": "torch", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
        }
    ],
}

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not PYTHON.exists(), reason="the auditor is not installed: make test-long does it"),
]


class Osv(BaseHTTPRequestHandler):
    """Knows one vulnerability, of what is asked for by name, and fails for one package where it is told to."""

    vulnerable: ClassVar[str] = ""
    failing: ClassVar[str] = ""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        answer: dict[str, Any] = {"vulns": [ADVISORY]} if asked == self.vulnerable else {}
        self.send_response(500 if asked == self.failing else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Nothing."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Osv, "vulnerable", "")
    monkeypatch.setattr(Osv, "failing", "")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    serving.join()
    server.server_close()


def audit(service: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(PYTHON),
        "-m",
        "supply.audit",
        REQUIREMENTS,
        "--torch",
        "torch==2.13.0",
        "--service",
        service,
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_clean_is_0(service: str) -> None:
    done = audit(service)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("audit: nothing known against ")


def test_vulnerable_is_1(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Osv, "vulnerable", "torch")

    done = audit(service)

    assert (done.returncode, done.stdout) == (1, "torch 2.13.0 PYSEC-2026-1 CVE-2026-1 fixed in 99.1\n")


@pytest.mark.parametrize("failing", ["requests", "torch"])
def test_a_fault_of_the_service_is_3(service: str, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    monkeypatch.setattr(Osv, "failing", failing)

    assert audit(service).returncode == 3


def test_no_service_is_3() -> None:
    done = audit("http://127.0.0.1:1/v1/query")

    assert done.returncode == 3
    assert done.stderr.startswith("audit: not known whether anything is vulnerable (exit 3); no data for ")


def test_the_sbom_fits_cyclonedx_own_schema(tmp_path: Path) -> None:
    bom = tmp_path / "seqserve.cdx.json"
    subprocess.run(
        [sys.executable, "-m", "supply.sbom", bom, "--torch", "torch==2.13.0"], cwd=ROOT, check=True
    )

    def checked() -> int:
        return subprocess.run([PYTHON, "-m", "supply.schema", bom], cwd=ROOT, check=False).returncode

    assert checked() == 0
    document = json.loads(bom.read_text())
    document["components"][0]["type"] = "no such type"
    bom.write_text(json.dumps(document))
    assert checked() == 1
