"""Whether each port that would be listened on is free."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from seqserve.doctor.finding import Finding, fault, or_ok
from seqserve.doctor.programs import holder_of
from seqserve.engines.torchserve.config import LOOPBACK, PREDICTION_PORTS
from seqserve.ports import ADMIN_HOST
from seqserve.settings import Settings

CHECK = "ports"
TORCHSERVE = ("http", "management", "metrics", "grpc", "grpc_management")


@dataclass(frozen=True, slots=True)
class Listening:
    """A port that would be listened on. port: 0 is a free one, chosen at the start."""

    setting: str
    host: str
    port: int

    @property
    def flag(self) -> str:
        """The option that sets it."""
        return f"--{self.setting.replace('_', '-')}"

    def bind(self) -> None:
        """Listen for a moment, as `serve` would. Raises OSError."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))


def listenings(settings: Settings, *, with_torchserve: bool) -> list[Listening]:
    """All ports of a gateway, and of the TorchServe that it runs."""
    wished = [
        ("grpc_port", settings.host, settings.grpc_port),
        ("http_port", settings.host, settings.http_port),
        ("health_port", settings.host, settings.health_port),
        ("admin_port", ADMIN_HOST, settings.admin_port),
    ]
    if with_torchserve:
        names = [f"torchserve_{name}_port" for name in TORCHSERVE]
        wished += [(name, _host_of(name, settings), getattr(settings, name)) for name in names]
    return [Listening(name, host, port) for name, host, port in wished if port is not None]


def _host_of(setting: str, settings: Settings) -> str:
    is_open = setting in [f"torchserve_{name}_port" for name in PREDICTION_PORTS]
    return settings.torchserve_host if is_open else LOOPBACK


def check_ports(
    ports: Sequence[Listening],
    find_holder: Callable[[int], str | None] = holder_of,
    listen: Callable[[Listening], None] = Listening.bind,
) -> list[Finding]:
    """Listen on each for a moment, and see who holds those that are taken. listen: raises OSError."""
    findings = list(_twice(ports))
    for one in ports:
        try:
            listen(one)
        except OSError as error:
            findings.append(_refused(one, error, find_holder))
    free = ", ".join(f"{one.port or 'any'} ({one.setting})" for one in ports)
    return or_ok(findings, CHECK, f"free: {free}")


def _twice(ports: Sequence[Listening]) -> Iterator[Finding]:
    first: dict[int, Listening] = {}
    for one in ports:
        other = first.setdefault(one.port, one) if one.port else one
        if other is not one:
            found = f"{other.setting} and {one.setting} are both {one.port}"
            yield fault(CHECK, found, f"Give one of them another port: {one.flag}.")


def _refused(one: Listening, error: OSError, find_holder: Callable[[int], str | None]) -> Finding:
    where = f"{one.setting}: {one.host}:{one.port}"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        flag = "--torchserve-host" if one.setting.startswith("torchserve") else "--host"
        return fault(CHECK, f"{where} is no address of this machine", f"Name one of its own with {flag}.")
    if error.errno == errno.EACCES:
        return fault(CHECK, f"{where} is for administrators", f"Name a port of 1024 or more: {one.flag}.")
    if error.errno == errno.EADDRINUSE:
        holder = find_holder(one.port)
        look = "" if holder else f" (`ss -ltnp 'sport = :{one.port}'` as root tells who)"
        found = f"{where} is taken by {holder or 'a program that is not to be seen from here'}"
        return fault(CHECK, found, f"Stop that program, or choose another port with {one.flag}{look}.")
    return fault(CHECK, f"{where}: {error.strerror or error}", f"Choose another port with {one.flag}.")
