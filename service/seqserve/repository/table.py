"""Which models and versions there are, which of them answers, and whether each may serve.

The table itself: loading.py brings versions up, sync.py decides which. A version is READY only
after its loaded copy agrees with the archive's golden rows on the device that will serve it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from seqserve.errors import EngineUnavailable, ModelNotFound, ModelNotReady, SeqserveError, VersionNotFound
from seqserve.repository.routing import STABLE, Routing, version_number
from seqserve.repository.versions import ModelState, ModelVersion, ReadyVersion

UNKNOWN = "unknown"

Listener = Callable[[ModelVersion], Awaitable[None]]


class ModelControl(Protocol):
    """Loads and unloads models by name, for whoever administers the gateway."""

    async def load(self, name: str) -> None:
        """Load from the store what the version policy wants, and go on doing so.

        Raises ModelNotFound, LoadInProgress, and ModelNotReady where a version was refused.
        """
        ...

    async def unload(self, name: str) -> None:
        """Unload every version and leave the model alone until it is loaded again.

        Raises ModelNotFound, LoadInProgress.
        """
        ...


@dataclass(slots=True)
class _Model:
    """One model's versions by number; `ready` holds those that can answer."""

    versions: dict[str, ModelVersion] = field(default_factory=dict)
    ready: dict[str, ReadyVersion] = field(default_factory=dict)


@dataclass(slots=True)
class Repository:
    """The models of one store, loaded into one engine.

    listeners are awaited with every change of a version's state; a version that was removed is told of
    once more after it has left the table.
    is_any_enough: one model with a READY version makes the whole ready; otherwise each must have one.
    compute_slots: batches that the engine computes at once; 0 where that is not known.
    hung_batches: those that do not end; each holds a slot, whatever becomes of its version.
    unheard: why nobody listens for gRPC; "" where somebody does.
    """

    is_any_enough: bool = False
    compute_slots: int = 0
    hung_batches: int = 0
    unheard: str = ""
    listeners: list[Listener] = field(default_factory=list)
    is_draining: bool = False
    is_engine_lost: bool = False
    _models: dict[str, _Model] = field(default_factory=dict)
    _routing: dict[str, Routing] = field(default_factory=dict)
    _wanted: dict[str, Routing] = field(default_factory=dict)
    _initial: frozenset[str] | None = None
    _was_ready: bool = False

    @property
    def is_initially_loaded(self) -> bool:
        """Whether every archive that was there at the start has been tried."""
        return self._initial is not None

    def resolve(self, name: str, version: str, request_id: str = "") -> ReadyVersion:
        """The version that answers.

        version: a number, a label, or "" for the choice of the canary's weights, else of the label
        `stable`, else the highest READY one. Raises ModelNotFound, VersionNotFound, ModelNotReady.
        """
        model = self._models.get(name)
        if model is None and not self.is_initially_loaded:
            raise ModelNotReady("the models are still being loaded")  # its turn may be to come
        if model is None:
            raise ModelNotFound(name)
        number = self.routing(name).version_for(version, model.ready, request_id)
        ready = model.ready.get(number)
        if ready is None:
            raise self._why_not(name, version, number)
        return ready

    def routing(self, name: str) -> Routing:
        """A model's labels and weights, as they hold now."""
        return self._routing.get(name, _NO_ROUTING)

    def wanted_routing(self, name: str) -> Routing:
        """A model's labels and weights as they were asked for; a label moves once its version is up."""
        return self._wanted.get(name, _NO_ROUTING)

    def pinned(self, name: str) -> set[str]:
        """Versions that a label or a weight means, or is to mean."""
        wanted = self.wanted_routing(name)
        return {*self.routing(name).labels.values(), *wanted.labels.values(), *wanted.weights}

    def default_version(self, name: str) -> str:
        """The number that answers most callers who name none; "" where there is none."""
        model, routing = self._models.get(name, _Model()), self.routing(name)
        shares = {version: share for version, share in routing.weights.items() if version in model.ready}
        return max(shares, key=shares.__getitem__, default="") or routing.version_for("", model.ready, "")

    def metric_labels(self, name: str, version: str) -> tuple[str, str]:
        """Name and version as metric labels: `unknown` for what is not in the repository."""
        model = self._models.get(name)
        if model is None:
            return UNKNOWN, UNKNOWN
        number = self.routing(name).version_for(version, model.ready, "")
        return name, number if number in model.versions else UNKNOWN

    def is_ready(self, name: str, version: str) -> bool:
        """Whether `resolve` answers, and will go on to: a drain has not begun."""
        if self.is_draining:
            return False
        try:
            self.resolve(name, version)
        except SeqserveError:
            return False
        return True

    def unanswered(self) -> dict[str, str]:
        """Each model whose callers are not answered when they name no version, and why."""
        reasons = {}
        for name in self.names():
            try:
                self.resolve(name, "")
            except SeqserveError as error:
                reasons[name] = str(error)
        return reasons

    def are_all_ready(self) -> bool:
        """Whether the gateway as a whole serves: once it did, only a drain or a lost engine ends that.

        An engine that is away, or whose slots are all held by batches that hang, counts as lost while
        that lasts; and so does a gRPC port on which nobody listens.
        """
        is_engine_there = not self.is_engine_lost and not self.is_engine_away() and not self.is_stuck()
        return self._was_ready and not self.is_draining and is_engine_there and not self.unheard

    def is_engine_away(self) -> bool:
        """Whether no version can answer, because what runs each of them is away for a while."""
        up = [entry for entry in self.versions() if entry.is_up]
        return bool(up) and all(map(_is_away, up))

    def is_stuck(self) -> bool:
        """Whether every compute slot is held by a batch that does not end, so that no other can begin."""
        return 0 < self.compute_slots <= self.hung_batches

    def versions(self) -> list[ModelVersion]:
        """Every version of every model, sorted by name and number."""
        return [entry for name in sorted(self._models) for entry in self.versions_of(name)]

    def versions_of(self, name: str) -> list[ModelVersion]:
        """Every version of one model, sorted by number; none of a model that is not here."""
        versions = self._models.get(name, _Model()).versions
        return [versions[version] for version in sorted(versions, key=version_number)]

    def names(self) -> list[str]:
        """Every model, sorted."""
        return sorted(self._models)

    def find(self, name: str, version: str) -> ModelVersion | None:
        """The entry of a version number."""
        return self._models.get(name, _Model()).versions.get(version)

    async def put(self, entry: ModelVersion) -> None:
        """Take a version in, instead of one with its number, or hear of its new state."""
        model = self._models.setdefault(entry.name, _Model())
        model.versions[entry.version] = entry
        if entry.state is ModelState.READY and entry.ready is not None:
            model.ready[entry.version] = entry.ready
        else:
            model.ready.pop(entry.version, None)
        self._settle(entry.name)
        await self.tell(entry)

    async def remove(self, entry: ModelVersion) -> None:
        """Forget a version that serves no more."""
        model = self._models.get(entry.name, _Model())
        if model.versions.get(entry.version) is not entry:
            return
        del model.versions[entry.version]
        model.ready.pop(entry.version, None)
        if not model.versions:
            del self._models[entry.name]
        self._settle(entry.name)
        await self.tell(entry)

    async def set_routing(self, wanted: Mapping[str, Routing]) -> None:
        """Labels and weights of every model from now on; who is answered already keeps its version."""
        changed = {name for name in {*wanted, *self._wanted} if wanted.get(name) != self._wanted.get(name)}
        self._wanted = dict(wanted)
        for name in changed:
            self._settle(name)
        for entry in self.versions():
            if entry.name in changed:
                await self.tell(entry)

    async def end_initial_load(self) -> None:
        """Every archive that was there at the start has been tried."""
        self._initial = frozenset(self._models)
        self._note_readiness()

    async def lose_engine(self, error: EngineUnavailable) -> None:
        """What ran the models is gone: answer who waits with the error, and be not ready."""
        self.is_engine_lost = True
        for entry in self.versions():
            if entry.ready is not None:
                entry.ready.batcher.abort(error)
                entry.model = entry.ready = None  # it went with the engine
                entry.state, entry.reason = ModelState.FAILED, error.reason
                entry.end_lease()
                await self.put(entry)

    async def aclose(self) -> None:
        """Finish what is queued, then unload. New submissions raise ShuttingDown."""
        entries = self.versions()
        await asyncio.gather(*(entry.ready.batcher.aclose() for entry in entries if entry.ready))
        for entry in entries:
            await entry.release()

    def _why_not(self, name: str, version: str, number: str) -> SeqserveError:
        """Why nobody answers: the version is not here, or not ready."""
        versions, labels = self._models[name].versions, self.routing(name).labels
        away = [entry for entry in self.versions_of(name) if _is_away(entry)]
        if any(number in ("", entry.version) for entry in away):
            return EngineUnavailable(f"what runs model {name!r} is away; it is being brought back")
        if not number:
            states = ", ".join(f"{entry.version} {entry.state.value}" for entry in self.versions_of(name))
            return ModelNotReady(f"model {name!r} has no version that is ready: {states}")
        label = version or STABLE
        meant = f" (label {label!r})" if label in labels else ""
        found = versions.get(number)
        if found is not None:
            return ModelNotReady(f"model {name!r} version {number!r}{meant} is not ready: {_standing(found)}")
        available = ", ".join([*sorted(versions, key=version_number), *sorted(labels)])
        return VersionNotFound(name, number, available=f"{available}{meant and f'; asked for as{meant}'}")

    def _note_readiness(self) -> None:
        if self._was_ready or self._initial is None:
            return
        ready = [self.is_ready(name, "") for name in self._initial or self._models]
        self._was_ready = bool(ready) and (all(ready) or (self.is_any_enough and any(ready)))

    def _settle(self, name: str) -> None:
        """Let labels point at what they were asked for, as far as it is up."""
        up = [entry.version for entry in self.versions_of(name) if entry.is_up]
        self._routing[name] = self.wanted_routing(name).settled(self.routing(name), up)
        if name not in self._wanted:
            del self._routing[name]

    async def tell(self, entry: ModelVersion) -> None:
        """Let the listeners hear of a version, also of one that has left."""
        self._note_readiness()
        for listener in self.listeners:
            await listener(entry)


def _is_away(entry: ModelVersion) -> bool:
    """Whether it is loaded, and what runs it is away for a while."""
    return entry.is_up and entry.has_trouble(EngineUnavailable.reason)


def _standing(entry: ModelVersion) -> str:
    """A version's state, and the reason where that says more."""
    is_told = entry.reason.lower() in ("", entry.state.value)
    return entry.state.value if is_told else f"{entry.state.value}: {entry.reason}"


_NO_ROUTING = Routing()
