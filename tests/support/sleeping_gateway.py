"""`seqserve serve` over a model that sleeps: `python -m support.sleeping_gateway SECONDS [options of serve]`.

A batch takes SECONDS whatever is in it and costs the core nothing, so several gateways show what several
machines would, where there are two cores. Nothing else is other than in `seqserve serve`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

from seqserve.cli.serve import command
from support.engines import FakeEngine


def main(seconds: float, options: list[str]) -> None:
    """Serve until a signal."""

    @asynccontextmanager
    async def sleeping(*_: Any) -> AsyncIterator[FakeEngine]:
        yield FakeEngine(seconds=seconds)

    with mock.patch("seqserve.server.running_engine", sleeping):
        command(options)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
