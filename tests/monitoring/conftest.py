"""What the tests of deploy/prometheus and deploy/grafana share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True, scope="module")
def quiet_log() -> Iterator[None]:
    """Faults are asked for here, and their tracebacks take structlog seconds to write."""
    with structlog.testing.capture_logs():
        yield
