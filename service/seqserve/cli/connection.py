"""What the commands that talk to a gateway share: --address, and errors as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from seqserve.cli.faults import Refused
from seqserve.client import Client, PredictionError

address_option = click.option(
    "--address", default="127.0.0.1:8001", show_default=True, help="HOST:PORT of the gateway's gRPC."
)


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client for the length of the block; the gateway's refusals become one line and exit status 1."""
    with Client(address) as client:
        try:
            yield client
        except PredictionError as error:
            raise Refused(f"{address}: {error.code}: {error}") from error
