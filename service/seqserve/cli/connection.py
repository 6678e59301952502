"""What the commands that talk to a gateway share: --address, and errors as one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click

from seqserve.cli.faults import Refused
from seqserve.client import Client, PredictionError

ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:]+\]|[^\s:/]+):(\d{1,5})")
MAX_PORT = 65535


def _check_address(_: click.Context, __: click.Parameter, address: str) -> str:
    """HOST:PORT, or a usage error; gRPC would take anything and fail later in words of its own."""
    found = ADDRESS.fullmatch(address)
    if found is None or not 1 <= int(found[1]) <= MAX_PORT:
        raise click.BadParameter(f"{address!r}; accepted: HOST:PORT, such as 127.0.0.1:8001")
    return address


address_option = click.option(
    "--address",
    default="127.0.0.1:8001",
    show_default=True,
    callback=_check_address,
    help="HOST:PORT of the gateway's gRPC.",
)


def nobody_answers(address: str) -> Refused:
    """What to say of a gateway that cannot be reached."""
    return Refused(
        f"no gateway answers at {address} (start one with `seqserve serve`, or name another --address)"
    )


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client for the length of the block; the gateway's refusals become one line and exit status 1."""
    with Client(address, max_attempts=1) as client:  # who sits at a terminal tries again by hand
        try:
            yield client
        except PredictionError as error:
            if error.is_unreachable:
                raise nobody_answers(address) from error
            raise Refused(f"{address}: {error.code}: {error}") from error
