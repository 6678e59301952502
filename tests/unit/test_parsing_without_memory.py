"""A message that protobuf has no memory for is the gateway's want, and not its caller's fault."""

from __future__ import annotations

import subprocess
import sys

LIMITED = r"""
import resource
from pathlib import Path
from seqserve.errors import SeqserveError
from seqserve.grpc_api.mapped import parsing
from seqserve.pb import inference_pb2 as pb

body = pb.ModelInferRequest(raw_input_contents=[bytes(64 << 20)]).SerializeToString()
parse = parsing(pb.ModelInferRequest)
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (16 << 20), -1))
for content in (body, b"\xff"):
    try:
        parse(content)
    except SeqserveError as error:
        print(error.reason)
"""


def test_what_finds_no_memory_is_overload_and_what_does_not_parse_is_invalid() -> None:
    said = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)

    assert said.stdout.split() == ["OVERLOADED", "INVALID_REQUEST"]
