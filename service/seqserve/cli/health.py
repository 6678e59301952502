"""`seqserve health`: an exit status for probes and scripts."""

from __future__ import annotations

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from seqserve.cli.connection import address_option, nobody_answers
from seqserve.cli.faults import Refused

TIMEOUT_SECONDS = 5.0


@click.command("health")
@click.argument("service", default="")
@address_option
def command(service: str, address: str) -> None:
    """Ask for the health of SERVICE; exit 0 when it serves, 1 when it does not.

    SERVICE is empty for the whole, `liveness`, `model/NAME` or `model/NAME/VERSION`.

    \b
    Examples:
      seqserve health
      seqserve health model/digit_mlp --address 127.0.0.1:8001
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    with grpc.insecure_channel(address) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_SECONDS
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise nobody_answers(address) from error
            raise Refused(
                f"health of {service or 'the gateway'} at {address}: {error.code().name}"
            ) from error
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    if reply.status != health_pb2.HealthCheckResponse.SERVING:
        raise Refused(f"health of {service or 'the gateway'} at {address}: {status}")
    click.echo(status)
