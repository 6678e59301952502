"""What the client brings into a program, and what it leaves out."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
import seqserve.client, tritonclient.grpc
print(*sorted(name for name in sys.modules if name.partition(".")[0] in ("torch", "seqserve", "seqserve_models")))
"""


def test_beside_tritonclient_it_needs_neither_torch_nor_the_gateway() -> None:
    ended = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)

    loaded = ended.stdout.split()
    assert "seqserve.client.aio" in loaded
    ours = ("seqserve.client", "seqserve.pb")
    assert [name for name in loaded if name != "seqserve" and not name.startswith(ours)] == []
