"""Several gateways, each with an address of its own, behind one name whose addresses a client looks up.

That is what a headless Service of Kubernetes is to a client: a gateway gets into the name when it is ready, and
is taken out before it is told to stop.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from support.name_server import Names, name_server
from support.namespaces import Namespace, Network, network
from support.served import TESTS, Served, environment

GRPC_PORT, HTTP_PORT = 8001, 8000
ESTABLISHED = "01"
"""As /proc/net/tcp has it."""
IPV4_DIGITS = 8
BATCH_SECONDS = 0.02
"""With batches of at most 4 one compute slot answers 200 examples a second so."""


@dataclass(frozen=True)
class Member:
    """One gateway. namespace: its network. options: of its own, beside those of all."""

    namespace: Namespace
    served: Served
    options: tuple[str, ...]

    @property
    def address(self) -> str:
        """Its IP."""
        return self.namespace.address

    def answered(self) -> int:
        """How many inference requests it has answered well."""
        page = httpx.get(f"http://{self.address}:{HTTP_PORT}/metrics", timeout=30).text
        samples = (each for family in text_string_to_metric_families(page) for each in family.samples)
        return int(
            sum(
                each.value
                for each in samples
                if each.name == "seqserve_requests_total" and each.labels["code"] == "OK"
            )
        )

    def connected_addresses(self) -> set[str]:
        """Those of its own, in hexadecimal, on which its gRPC port has a connection; of IPv6 the end, where that is."""
        folder = Path(f"/proc/{self.served.process.pid}/net")
        rows = [
            row.split() for name in ("tcp", "tcp6") for row in (folder / name).read_text().splitlines()[1:]
        ]
        ends = (row[1].split(":") for row in rows if row[3] == ESTABLISHED)
        return {address[-IPV4_DIGITS:] for address, port in ends if int(port, 16) == GRPC_PORT}


class Fleet:
    """Gateways over one store, and the name that leads to them."""

    def __init__(
        self, network: Network, names: Names, folder: Path, options: list[str], stack: ExitStack
    ) -> None:
        self.network = network
        self.names = names
        self.members: list[Member] = []
        self._folder = folder
        self._options = options
        self._stack = stack

    @property
    def target(self) -> str:
        """What a gRPC client is given."""
        return self.names.target(GRPC_PORT)

    def add(self, count: int = 1, *options: str, addresses: int = 1) -> list[Member]:
        """Start so many, and let the name lead to them once they serve. options, addresses: of each."""
        new = [self._start(options, addresses) for _ in range(count)]
        for each in new:
            each.served.wait_for("serving")
        self.members += new
        self._tell()
        return new

    def kill(self, member: Member) -> None:
        """End it without a word; the name follows when it is gone."""
        member.served.process.kill()
        member.served.process.wait()
        self.members.remove(member)
        self._tell()

    def retire(self, member: Member) -> int:
        """Take it out of the name, tell it to stop, and return its exit status."""
        self.members.remove(member)
        self._tell()
        return member.served.end()

    def _tell(self) -> None:
        self.names.addresses = [each.address for each in self.members]

    def _start(self, options: tuple[str, ...], addresses: int) -> Member:
        namespace = self.network.namespace(addresses)
        log = self._folder / f"{namespace.address}.log"
        program = [sys.executable, "-m", "support.sleeping_gateway", str(BATCH_SECONDS)]
        ports = [
            f"--grpc-port={GRPC_PORT}",
            f"--http-port={HTTP_PORT}",
            "--host=0.0.0.0",
            "--log-format=json",
        ]
        with log.open("wb") as errors:
            process = subprocess.Popen(
                namespace.within(*program, *ports, "--compute-slots=1", *self._options, *options),
                stderr=errors,
                env=environment(PYTHONPATH=str(TESTS)),
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return Member(namespace, Served(process, log), options)


@contextmanager
def fleet(folder: Path, store: Path, *options: str) -> Iterator[Fleet]:
    """No gateway yet; all are gone with the block, and their network with them. options: of each."""
    with network() as net, name_server(net.here, []) as names, ExitStack() as stack:
        yield Fleet(net, names, folder, [f"--model-store={store}", *options], stack)
