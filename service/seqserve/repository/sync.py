"""Keeps what is loaded in step with what the store has, by each model's version policy.

A new version is loaded beside the old ones and only then switched to. Neither a version that is
refused nor a file that vanishes ever takes the last READY version of a model away; `unload` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from seqserve.errors import ArchiveUntrusted, LoadInProgress, ModelNotFound, ModelNotReady
from seqserve.repository.leaving import Leaving
from seqserve.repository.loading import WAITING, Loading
from seqserve.repository.patience import Patience
from seqserve.repository.policy import VersionPolicy
from seqserve.repository.shelf import Shelf, Shelved, Stamp, take_stock
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, ModelVersion
from seqserve.shortage import shortage_of
from seqserve.trusted_keys import Stamp as KeyStamp

log = structlog.get_logger()


@dataclass(slots=True)
class StoreSync:
    """Loads and unloads versions: at the start, when the store changes, and when told to.

    list_archives: the paths of the store's archives. policy_of: a model's version policy by name.
    One version is loaded at a time; those that leave wait for their callers beside it.
    """

    repository: Repository
    loading: Loading
    list_archives: Callable[[], Sequence[Path]]
    policy_of: Callable[[str], VersionPolicy]
    patience: Patience = field(default_factory=Patience)
    leaving: Leaving = field(init=False)
    _tried: dict[Path, Stamp] = field(default_factory=dict)
    _unloaded: set[str] = field(default_factory=set)
    _busy: set[str] = field(default_factory=set)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _defaults: dict[str, str] = field(default_factory=dict)
    _told: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    _again: set[Path] = field(default_factory=set)
    _free_again: set[Path] = field(default_factory=set)
    _untrusted: dict[Path, KeyStamp] = field(default_factory=dict)

    @property
    def has_to_try_again(self) -> bool:
        """Whether an archive waits for its engine, or for what the gateway itself was short of."""
        return bool(self._again)

    def __post_init__(self) -> None:
        self.leaving = Leaving(self.loading, self._on_left)

    async def load_initially(self) -> None:
        """Try everything that is there. Raises StoreMissing."""
        async with self._turn:
            shelf = await self._look(is_patient=False)
            for name in sorted(shelf):
                await self._follow(name, shelf[name])
            await self.repository.end_initial_load()

    async def sync(self) -> None:
        """Follow the store. Raises StoreMissing; what is loaded serves on."""
        async with self._turn:
            waiting = set(self._again)
            try:
                await self._sync()
            except BaseException:
                self._again |= waiting  # a look that fails forgets nobody
                raise

    async def _sync(self) -> None:
        shelf = await self._look(is_patient=True)
        self._free_again, self._again = self._again, set()
        for path in self._free_again | await self._newly_judged():
            self._tried.pop(path, None)
        for name in sorted({*shelf, *self.repository.names()} - self._unloaded):
            await self._follow(name, shelf.get(name, {}))

    async def load(self, name: str) -> None:
        """See ModelControl.load."""
        with self._working_on(name):
            await self.leaving.have_left(name)
            async with self._turn:
                found = (await self._look(is_patient=False)).get(name)
                if not found:
                    raise ModelNotFound(name)
                self._unloaded.discard(name)
                for archive in found.values():  # one that was refused is tried again
                    if not self._serves(archive):
                        self._tried.pop(archive.path, None)
                await self._follow(name, found)
        self._check_loaded(name)

    async def unload(self, name: str) -> None:
        """See ModelControl.unload."""
        with self._working_on(name):
            async with self._turn:
                entries = self.repository.versions_of(name)
                if not entries:
                    raise ModelNotFound(name)
                self._unloaded.add(name)
                for entry in entries:
                    if entry.is_up:
                        await self.leaving.let_go(entry)
                    else:
                        await self._on_left(entry)
            await self.leaving.have_left(name)

    async def _on_left(self, entry: ModelVersion) -> None:
        """Forget a version, but show one that somebody has unloaded. It may come back."""
        if entry.path is not None and entry.state is ModelState.UNLOADED:
            self._tried.pop(entry.path, None)
        if entry.name not in self._unloaded:
            await self.repository.remove(entry)
        elif entry.state is not ModelState.UNLOADING:
            entry.state, entry.reason = ModelState.UNLOADED, "UNLOADED"
            await self.repository.put(entry)

    async def _look(self, *, is_patient: bool) -> Shelf:
        """What is in the store; when patient, without what somebody may still be copying."""
        shelf = await asyncio.to_thread(lambda: take_stock(self.list_archives()))
        present = {archive.path for versions in shelf.values() for archive in versions.values()}
        self._tried = {path: stamp for path, stamp in self._tried.items() if path in present}
        self.patience.look(present)
        if not is_patient:
            return shelf
        return {
            name: {
                version: archive
                for version, archive in versions.items()
                if self._is_known(archive) or await self.patience.is_settled(archive, self.loading.trust)
            }
            for name, versions in shelf.items()
        }

    async def _newly_judged(self) -> set[Path]:
        """Archives that nobody trusted has attested, where other keys are trusted by now."""
        if not self._untrusted:
            return set()
        keys = await asyncio.to_thread(self.loading.trust.stamp)
        changed = {path for path, stamp in self._untrusted.items() if stamp != keys}
        for path in changed:
            del self._untrusted[path]
        return changed

    def _is_known(self, archive: Shelved) -> bool:
        return self._tried.get(archive.path) == archive.stamp or self._serves(archive)

    async def _follow(self, name: str, found: Mapping[str, Shelved]) -> None:
        """Load what is wanted of one model, then let go of what is not."""
        with self._working_on(name, is_asked=False):
            for archive in found.values():
                await self._refuse_other_bytes(archive)
            while missing := self._missing(name, found):
                await self._load(missing[0])
            await self._retire(name, found)
            self._tell_what_is_waited_for(name)
            await self._follow_default(name)

    def _wanted(self, name: str, found: Mapping[str, Shelved]) -> list[str]:
        """Versions by the policy, without those that were refused as they are."""
        available = [
            version
            for version, archive in found.items()
            if self._serves(archive) or self._tried.get(archive.path) != archive.stamp
        ]
        return self.policy_of(name).choose(available, self.repository.pinned(name))

    def _missing(self, name: str, found: Mapping[str, Shelved]) -> list[Shelved]:
        """What is to be loaded; a version that is just leaving has its turn when it has left."""
        wanted = [found[version] for version in self._wanted(name, found)]
        return [archive for archive in wanted if not self._serves(archive) and not self._is_leaving(archive)]

    async def _load(self, archive: Shelved) -> None:
        keys = await asyncio.to_thread(self.loading.trust.stamp)
        entry = await self.loading.load(archive.name, archive.version, archive.path)
        self._tried[archive.path] = archive.stamp  # not before: what could not be begun has not been tried
        if entry.state is ModelState.FAILED and entry.reason in WAITING:
            self._again.add(archive.path)
        if entry.state is ModelState.FAILED and entry.reason == ArchiveUntrusted.reason:
            self._untrusted[archive.path] = keys

    async def _refuse_other_bytes(self, archive: Shelved) -> None:
        """A version is immutable: other bytes under the name of one that serves are not loaded."""
        if not self._serves(archive) or self._tried.get(archive.path) == archive.stamp:
            return
        sha256 = await self._sha256_of(archive)
        self._tried[archive.path] = archive.stamp
        entry = self.repository.find(archive.name, archive.version)
        if entry is not None and sha256 != entry.archive_sha256:
            self.loading.observer.note_reload(archive.name, "refused")
            log.error(
                "model refused", archive=archive.path.name, hint="build the next version number",
                reason="the archive has other bytes than the version that is loaded, which serves on",
            )  # fmt: skip

    async def _sha256_of(self, archive: Shelved) -> str:
        """Of the file as it is now; "" where it cannot be read. Raises OSError for want of files."""
        try:
            return await asyncio.to_thread(archive.sha256)
        except OSError as error:
            if shortage_of(error):
                raise
            return ""

    async def _retire(self, name: str, found: Mapping[str, Shelved]) -> None:
        """Let versions go that nobody wants, once a wanted one answers."""
        wanted = {*self._wanted(name, found)}
        entries = self.repository.versions_of(name)
        is_covered = any(entry.state is ModelState.READY and entry.version in wanted for entry in entries)
        kept = wanted | self.repository.pinned(name)
        for entry in entries:
            is_there = entry.version in found
            if entry.is_up and is_covered and entry.version not in kept:
                if is_there or entry.path is None or self.patience.is_gone(entry.path):
                    await self.leaving.let_go(entry)
            elif self._is_over(entry, is_there=is_there):
                await self.repository.remove(entry)

    def _is_over(self, entry: ModelVersion, *, is_there: bool) -> bool:
        """Whether nobody has to see any more what became of a version."""
        if entry.state is not ModelState.FAILED:
            return entry.state is ModelState.UNLOADED
        has_waited = entry.reason in WAITING and entry.path in self._free_again
        return not is_there or (has_waited and entry.path not in self._again)  # nobody wants it any more

    def _tell_what_is_waited_for(self, name: str) -> None:
        """Say once of each label and weight that its version cannot answer, and again when that recurs."""
        wanted = self.repository.wanted_routing(name)
        named = {(f"label {label}", version) for label, version in wanted.labels.items()}
        named |= {("a weight", version) for version in wanted.weights}
        waiting = {(by, version) for by, version in named if not self._is_up(name, version)}
        for named_by, version in sorted(waiting - self._told.get(name, set()), reverse=True):
            log.warning(
                "what is named is not a version that is ready",
                model=name, named_by=named_by, version=version,
                answered_by=self.repository.default_version(name),
            )  # fmt: skip
        self._told[name] = waiting

    async def _follow_default(self, name: str) -> None:
        """The engine's own callers, as TorchServe's over HTTP, meet the version that ours meet."""
        version = self.repository.default_version(name)
        if version and self._defaults.get(name) != version:
            self._defaults[name] = version
            await self.loading.engine.set_default(name, version)

    def _serves(self, archive: Shelved) -> bool:
        return self._is_up(archive.name, archive.version)

    def _is_up(self, name: str, version: str) -> bool:
        entry = self.repository.find(name, version)
        return entry is not None and entry.is_up

    def _is_leaving(self, archive: Shelved) -> bool:
        entry = self.repository.find(archive.name, archive.version)
        return entry is not None and entry.state is ModelState.UNLOADING

    def _check_loaded(self, name: str) -> None:
        """Raise ModelNotReady that names the versions that were refused."""
        refused = [entry for entry in self.repository.versions_of(name) if entry.state is ModelState.FAILED]
        if refused:
            words = ", ".join(f"version {entry.version}: {entry.reason}" for entry in refused)
            raise ModelNotReady(f"model {name!r} was not loaded as a whole; {words}; the log says why")

    @contextmanager
    def _working_on(self, name: str, *, is_asked: bool = True) -> Iterator[None]:
        """Whoever asks for a model meanwhile gets LoadInProgress; the watcher's turn comes by itself."""
        if name in self._busy and is_asked:
            raise LoadInProgress(f"model {name!r} is being loaded or unloaded")
        was_busy = name in self._busy
        self._busy.add(name)
        try:
            yield
        finally:
            if not was_busy:
                self._busy.discard(name)
