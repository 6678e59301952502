"""What the tests of deploy/prometheus and deploy/grafana share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import structlog

from support.required import skip_or_fail


@pytest.fixture(autouse=True, scope="module")
def quiet_log() -> Iterator[None]:
    """Faults are asked for here, and their tracebacks take structlog seconds to write."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="session")
def prometheus_programs() -> None:
    """Prometheus and promtool are there, or the test is skipped."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if missing:
        reason = f"not installed: {', '.join(missing)}; Debian's package prometheus has both"
        skip_or_fail("monitoring", reason)
