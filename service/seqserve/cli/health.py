"""`seqserve health`: an exit status for probes and scripts."""

from __future__ import annotations

from functools import partial

import click

from seqserve.cli.connection import Target, connected, connecting
from seqserve.cli.faults import Refused
from seqserve.client import NotFound

TIMEOUT_SECONDS = 5.0


@click.command("health")
@click.argument("service", default="")
@partial(connecting, may_probe=True)
def command(service: str, target: Target) -> None:
    """Ask for the health of SERVICE; exit 0 when it serves, 1 when it does not.

    SERVICE is empty for the whole, `liveness`, `model/NAME` or `model/NAME/VERSION`. The port for probes,
    --health-port of the gateway, takes neither TLS nor a token, and knows no model where callers need one;
    --no-tls asks it, and sends no token to another machine.

    \b
    Examples:
      seqserve health
      seqserve health model/digit_mlp --address 127.0.0.1:8001
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    with connected(target, timeout_seconds=TIMEOUT_SECONDS) as client:
        try:
            status = "SERVING" if client.health(service) else "NOT_SERVING"
        except NotFound as error:
            status = error.code
    if status != "SERVING":
        raise Refused(f"health of {service or 'the gateway'} at {target.address}: {status}")
    click.echo(status)
