"""Containers of our images, as an operator runs them: read-only, without capabilities, one port each."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.container_engine import Engine

START_SECONDS = 300.0
POLL_SECONDS = 0.1
USER = 10001
IN_FLIGHT = re.compile(r"^seqserve_requests_in_flight(?:{[^}]*})? ([1-9]\S*)", re.MULTILINE)
CONFINED = (
    "--network", "host", "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp",  # noqa: S108 - inside
    "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "256",
    "--no-healthcheck",  # podman has systemd's timers run it, and there need be none
)  # fmt: skip
PORTS = (
    "SEQSERVE_GRPC_PORT", "SEQSERVE_HTTP_PORT", "SEQSERVE_HEALTH_PORT", "SEQSERVE_TORCHSERVE_HTTP_PORT",
    "SEQSERVE_TORCHSERVE_MANAGEMENT_PORT", "SEQSERVE_TORCHSERVE_METRICS_PORT", "SEQSERVE_TORCHSERVE_GRPC_PORT",
    "SEQSERVE_TORCHSERVE_GRPC_MANAGEMENT_PORT",
)  # fmt: skip
"""The host's network is everybody's: each container gets free ones."""


@dataclass(frozen=True)
class Container:
    """One that was started. ports: by the names of their variables."""

    engine: Engine
    name: str
    ports: Mapping[str, int]

    @property
    def grpc(self) -> str:
        """HOST:PORT of gRPC."""
        return f"127.0.0.1:{self.ports['SEQSERVE_GRPC_PORT']}"

    @property
    def http(self) -> str:
        """URL of REST, metrics and probes."""
        return f"http://127.0.0.1:{self.ports['SEQSERVE_HTTP_PORT']}"

    @property
    def is_running(self) -> bool:
        """Whether its first process lives."""
        return self.engine.ask("podman", "inspect", "--format", "{{.State.Running}}", self.name) == "true"

    @property
    def exit_status(self) -> int:
        """Of one that has ended."""
        return int(self.engine.ask("podman", "inspect", "--format", "{{.State.ExitCode}}", self.name))

    def logs(self) -> str:
        """All that it printed."""
        said = self.engine.run("podman", "logs", self.name)
        return said.stdout + said.stderr

    def execute(self, *command: str) -> str:
        """What a command inside prints."""
        return self.engine.ask("podman", "exec", self.name, *command)

    def wait_until_ready(self) -> None:
        """Return when all models are served."""
        self.wait_for(lambda: answers(f"{self.http}/readyz"), "is not ready")

    def wait_for(self, condition: Callable[[], bool], fault: str) -> None:
        """Return when a condition holds, while the container runs."""
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            assert self.is_running, f"{self.name} ended with {self.exit_status}\n{self.logs()}"
            assert time.monotonic() < deadline, f"{self.name} {fault}\n{self.logs()}"
            time.sleep(POLL_SECONDS)

    def wait_until_ended(self) -> int:
        """Return its exit status once it has ended by itself."""
        deadline = time.monotonic() + START_SECONDS
        while self.is_running:
            assert time.monotonic() < deadline, self.logs()
            time.sleep(POLL_SECONDS)
        return self.exit_status

    def wait_until_in_flight(self) -> None:
        """Return when it has a request that is not answered yet."""
        self.wait_for(lambda: bool(IN_FLIGHT.search(httpx.get(f"{self.http}/metrics").text)), "is idle")

    def stop(self, grace_seconds: int = 60) -> int:
        """SIGTERM, and its exit status."""
        self.engine.run("podman", "stop", "--time", str(grace_seconds), self.name)
        return self.exit_status


@contextmanager
def started(engine: Engine, image: str, name: str, *options: str, **settings: str) -> Iterator[Container]:
    """A container from its start on; it is removed at the end. settings: environment variables."""
    ports = free_ports()
    given = {key: str(port) for key, port in ports.items()} | settings
    variables = [f"--env={key}={value}" for key, value in given.items()]
    engine.run("podman", "rm", "--force", "--ignore", name)
    engine.run("podman", "run", "--detach", "--name", name, *CONFINED, *variables, *options, image)
    try:
        yield Container(engine, name, ports)
    finally:
        engine.run("podman", "rm", "--force", "--time", "0", name, check=False)


def run_to_its_end(engine: Engine, image: str, *options: str, command: tuple[str, ...]) -> str:
    """What a container prints that ends by itself, with status 0."""
    return engine.ask("podman", "run", "--rm", *CONFINED, *options, image, *command, timeout_seconds=1800)


def reading(store: Path) -> tuple[str, ...]:
    """Options that mount a model store where the images look for it."""
    return ("--volume", f"{store}:/models:ro")


def sharing_token(folder: Path, how: str = "") -> tuple[str, ...]:
    """Options that mount a folder where the image `torchserve` puts its token for others; it becomes the user's."""
    os.chown(folder, USER, USER)
    return ("--volume", f"{folder}:/run/seqserve{how}")


def torchserve_of(behind: Container) -> dict[str, str]:
    """Settings of a slim gateway before that container's TorchServe, which shares its token."""
    return {
        "SEQSERVE_TORCHSERVE_ADDRESS": f"127.0.0.1:{behind.ports['SEQSERVE_TORCHSERVE_GRPC_PORT']}",
        "SEQSERVE_TORCHSERVE_TOKEN_FILE": "/run/seqserve/inference_token",
    }


def free_ports() -> dict[str, int]:
    """A free port for each of PORTS."""
    with ExitStack() as sockets:  # all are held until the last is chosen
        listeners = {name: sockets.enter_context(socket.socket()) for name in PORTS}
        for listener in listeners.values():
            listener.bind(("127.0.0.1", 0))
        return {name: int(listener.getsockname()[1]) for name, listener in listeners.items()}


def answers(url: str) -> bool:
    """Whether it answers 200."""
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def logged(text: str) -> list[dict[str, object]]:
    """The events of a JSON log."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
