"""What a gateway leaves out of memory until somebody needs it."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
import seqserve.cli.serve, seqserve.server
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_neither_keys_nor_certificates_nor_pictures_are_paid_for_by_those_who_have_none() -> None:
    ended = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)

    loaded = set(ended.stdout.split())
    assert {"seqserve", "grpc", "numpy"} <= loaded
    assert not {"cryptography", "PIL", "torch", "opentelemetry", "httpx"} & loaded
