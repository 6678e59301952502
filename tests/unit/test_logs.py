"""What the logs make of words that others have chosen."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

NAME = "a\x1b]0;pwned\x07red\n2-1.mar"
LOG = f"""
import structlog
from seqserve.logs import configure_logs
configure_logs("info", FORMAT)
structlog.get_logger().error("model refused", archive={NAME!r}, size=3)
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_name_of_a_file_does_anything_to_a_terminal_or_starts_a_line(log_format: str) -> None:
    """In a process of its own: they are set for a whole one."""
    code = LOG.replace("FORMAT", repr(log_format))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    [line] = ended.stderr.splitlines()
    assert "\x1b]" not in line
    assert "\x07" not in line
    if log_format == "json":
        assert json.loads(line)["archive"] == NAME
    else:
        assert "a?]0;pwned?red?2-1.mar" in line
