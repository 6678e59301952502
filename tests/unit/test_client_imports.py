"""What the client brings into a program, and what it leaves out."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
import seqserve.client, tritonclient.grpc
print(*sorted(name for name in sys.modules if name.partition(".")[0] in ("torch", "seqserve", "seqserve_models")))
"""

WITHOUT_OPENTELEMETRY = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
from seqserve.client import Client
from seqserve.client.errors import PredictionError
try:
    Client("127.0.0.1:1", max_attempts=1).predict([1.0], model="x", timeout_seconds=5)
except PredictionError as error:
    print(error.code)
"""


def test_beside_tritonclient_it_needs_neither_torch_nor_the_gateway() -> None:
    ended = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)

    loaded = ended.stdout.split()
    assert "seqserve.client.aio" in loaded
    ours = ("seqserve.client", "seqserve.pb")
    assert [name for name in loaded if name != "seqserve" and not name.startswith(ours)] == []


def test_it_needs_no_opentelemetry() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_OPENTELEMETRY], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["UNAVAILABLE"]
