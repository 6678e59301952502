"""An engine over a played TorchServe, and all that a test touches of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from seqserve.archive import Archive
from seqserve.engines.base import EngineObserver
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.engine import ManagedOptions, TorchServeEngine
from seqserve.engines.torchserve.management import Management
from seqserve.engines.torchserve.model import TorchServeModel
from seqserve.engines.torchserve.tokens import KeyFile
from support.batching import settle
from support.time import FakeTime
from support.torchserve import AT_ONCE, URL, FakeInference, Key, Keys, archive, serving
from support.torchserve_management import FakeManagement


@dataclass
class FakePresence:
    """Notes who is away; whoever is asked for again is back, unless `wrong` holds it.

    gate: bringing back waits for it.
    """

    away: set[Key] = field(default_factory=set)
    brought_back: list[Key] = field(default_factory=list)
    wrong: set[Key] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def note_away(self, name: str, version: str) -> None:
        self.away.add((name, version))

    async def bring_back(self, name: str, version: str) -> bool:
        key = name, version
        if key not in self.away:
            return True
        await self.gate.wait()
        if key in self.wrong:
            return False
        self.away.discard(key)
        self.brought_back.append(key)
        return True


@dataclass
class FakeObserver(EngineObserver):
    """Notes what the engine went through."""

    restarts: int = 0
    drifts: list[str] = field(default_factory=list)

    def note_restart(self) -> None:
        self.restarts += 1

    def note_drift(self, what: str) -> None:
        self.drifts.append(what)


@dataclass
class World:
    """Everything that a test touches."""

    inference: FakeInference
    management: FakeManagement
    endpoint: TorchServeEndpoint
    engine: TorchServeEngine
    keys: Keys
    presence: FakePresence
    observer: FakeObserver

    @property
    def registered(self) -> dict[str, set[str]]:
        """Versions by model."""
        return {name: set(versions) for name, versions in self.management.models.items()}

    @property
    def stored(self) -> set[str]:
        """Files in the model store."""
        return {path.name for path in self.endpoint.model_store.iterdir()}


@asynccontextmanager
async def running_world(
    folder: Path, *, workers: int = 1, time: FakeTime | None = None
) -> AsyncIterator[World]:
    """An engine over a played TorchServe, for the length of the block; pauses for tokens take no time."""
    store, keys = folder / "model-store", Keys(folder / "key_file.json")
    store.mkdir()
    inference = FakeInference(token=lambda: keys.of("inference"))
    management = FakeManagement(store, keys)
    presence, observer = FakePresence(), FakeObserver()
    async with serving(inference) as port:
        endpoint = TorchServeEndpoint(
            grpc_target=f"127.0.0.1:{port}",
            inference_url=URL,
            management_url=URL,
            metrics_url=URL,
            tokens=KeyFile(keys.path),
            model_store=store,
            max_message_bytes=2**20,
        )
        engine = TorchServeEngine(
            endpoint,
            presence,
            management=Management(endpoint, httpx.MockTransport(management), time=AT_ONCE),
            observer=observer,
            options=ManagedOptions(workers=workers),
            time=time.time if time else None,
        )
        try:
            yield World(inference, management, endpoint, engine, keys, presence, observer)
        finally:
            await engine.aclose()


class Watched:
    """A watched world with `tiny` 1 and 2, and time; `look` is what the watch does by itself."""

    def __init__(self, world: World, time: FakeTime, archives: dict[str, Archive]) -> None:
        self.world = world
        self.time = time
        self.archives = archives
        self.models: dict[str, TorchServeModel] = {}
        self.hung = 0
        world.engine.watch.on_hung = self.count_hung

    def count_hung(self) -> None:
        self.hung += 1

    async def load(self, version: str) -> None:
        self.models[version] = await self.world.engine.load(self.archives[version])

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.world.engine.watch.look()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """The watch runs by itself for the length of the block."""
        task = asyncio.create_task(self.world.engine.watch.run())
        await settle()
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), "nothing else ends it"

    async def pass_by(self, seconds: float, times: int = 1) -> None:
        """Time passes, and what is due for it is done."""
        for _ in range(times):
            await self.time.pass_by(seconds)
            await settle(200)

    @property
    def drifts(self) -> list[str]:
        return self.world.observer.drifts

    @property
    def away(self) -> set[tuple[str, str]]:
        return self.world.presence.away

    @property
    def looks(self) -> int:
        return self.world.management.calls.count("GET /models")


@asynccontextmanager
async def watched_world(folder: Path) -> AsyncIterator[Watched]:
    """With two workers for each version."""
    time = FakeTime()
    archives = {version: archive(folder, version) for version in "123"}
    async with running_world(folder, workers=2, time=time) as world:
        made = Watched(world, time, archives)
        for version in "12":
            await made.load(version)
        world.management.calls.clear()
        yield made
