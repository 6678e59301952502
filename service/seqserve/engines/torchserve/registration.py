"""Which versions a TorchServe of our own is to have, and the calls that give them to it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from seqserve.archive import Archive
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.management import Management
from seqserve.engines.torchserve.wire import message_bytes
from seqserve.errors import ArchiveInvalid, EngineUnavailable, SeqserveError
from seqserve.signature import Signature

log = structlog.get_logger()

Key = tuple[str, str]
"""Name and version."""


class Registration:
    """The wanted versions; each is a private copy of verified bytes in the server's model store.

    workers: of each version. response_seconds_of: by a model's name, after how
    long without an answer to a batch a worker is started again.
    changes: grows with every version that comes or goes, and with every wish for a default.
    """

    def __init__(
        self,
        endpoint: TorchServeEndpoint,
        management: Management,
        *,
        workers: int,
        response_seconds_of: Callable[[str], int],
    ) -> None:
        self.workers = workers
        self.changes = 0
        self._endpoint = endpoint
        self._management = management
        self._response_seconds_of = response_seconds_of
        self._wanted: dict[Key, Signature] = {}
        self._defaults: dict[str, str] = {}
        self._turns: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._busy: Counter[Key] = Counter()

    @property
    def is_at_work(self) -> bool:
        """Whether something is just coming or going."""
        return bool(self._busy)

    def settled(self) -> list[Signature]:
        """What should be registered now, without what is just coming or going."""
        return [signature for key, signature in self._wanted.items() if key not in self._busy]

    def wanted(self) -> list[Signature]:
        """What is registered, or is to be."""
        return list(self._wanted.values())

    def is_stray(self, name: str, version: str) -> bool:
        """Whether nobody here has asked for it."""
        return (name, version) not in self._wanted and (name, version) not in self._busy

    def is_settled(self, name: str) -> bool:
        """Whether no version of a model is just coming or going, and no wish is just being told."""
        return all(busy != name for busy, _ in self._busy)

    def default(self, name: str) -> str:
        """The version for callers who name none: as wished, else the highest; "" of an unknown model."""
        versions = [version for model, version in self._wanted if model == name]
        wished = self._defaults.get(name, "")
        return wished if wished in versions else max(versions, key=int, default="")

    async def add(self, archive: Archive) -> None:
        """Copy the bytes and register them.

        Raises ArchiveInvalid, EngineUnavailable; then nothing of it is left.
        """
        signature = archive.signature
        key = signature.name, signature.version
        async with self._turn(*key):
            self._check(signature)
            await asyncio.to_thread(_write_private, self._file_of(signature), archive.content)
            self._wanted[key] = signature
            try:
                await self._register(signature)
            except BaseException:
                await self._forget(signature)  # one whose worker does not start stays registered
                raise
            finally:
                self.changes += 1

    async def remove(self, signature: Signature) -> None:
        """Take a version out of TorchServe; what goes wrong is logged."""
        async with self._turn(signature.name, signature.version):
            await self._forget(signature)
            self.changes += 1

    async def register_again(self, signature: Signature) -> None:
        """One that got lost, if it is still wanted. Raises ArchiveInvalid, EngineUnavailable."""
        key = signature.name, signature.version
        async with self._turn(*key):
            if key in self._wanted:
                await self._register(signature)

    async def start_again(self, signature: Signature) -> None:
        """Give one new workers, as its own do not come back. Raises ArchiveInvalid, EngineUnavailable."""
        key = signature.name, signature.version
        async with self._turn(*key):
            if key in self._wanted:  # it may be the default one, which cannot be unregistered
                await self._management.scale(*key, 0)
                await self._management.scale(*key, self.workers)

    async def unregister(self, name: str, version: str) -> bool:
        """Take a version away; whether it was there. TorchServe keeps the default one while there are others.

        Raises ArchiveInvalid, EngineUnavailable.
        """
        model = await self._management.describe(name)
        if model is None or version not in model.versions:
            return False
        others = sorted(model.versions.keys() - {version}, key=_number)
        if others and model.default == version:
            wished = self.default(name)
            await self._management.set_default(name, wished if wished in others else others[-1])
        await self._management.unregister(name, version)
        return True

    async def set_default(self, name: str, version: str) -> None:
        """From now on; what goes wrong is logged, and the watch sees to it."""
        async with self._turn(name, ""):
            self._defaults[name] = version
            await self.follow_default(name)
            self.changes += 1

    async def follow_default(self, name: str) -> None:
        """Tell TorchServe the default version; what goes wrong is logged, and the watch sees to it."""
        version = self.default(name)
        try:
            if version:
                await self._management.set_default(name, version)
        except SeqserveError as error:
            log.warning("default not set", model=name, version=version, reason=str(error))

    async def has_gpu(self, signature: Signature) -> bool:
        """Whether a worker of it was given a GPU. Raises EngineUnavailable."""
        model = await self._management.describe(signature.name)
        found = model.versions.get(signature.version) if model is not None else None
        return found is not None and found.has_gpu

    async def _register(self, signature: Signature) -> None:
        await self.unregister(signature.name, signature.version)  # what an earlier time may have left of it
        file = self._file_of(signature).name
        seconds = self._response_seconds_of(signature.name)
        await self._management.register(file, workers=self.workers, response_seconds=seconds)
        if self.default(signature.name) == signature.version:  # another one may not be there yet
            await self.follow_default(signature.name)

    async def _forget(self, signature: Signature) -> None:
        name, version = signature.name, signature.version
        self._wanted.pop((name, version), None)
        try:
            await self.unregister(name, version)
        except SeqserveError as error:
            log.warning("model not unregistered", model=name, version=version, reason=str(error))
        self._file_of(signature).unlink(missing_ok=True)

    def _check(self, signature: Signature) -> None:
        if (signature.name, signature.version) in self._wanted:
            raise ArchiveInvalid(f"version {signature.version} of {signature.name} is in TorchServe already")
        needed, limit = message_bytes(signature), self._endpoint.max_message_bytes
        if needed > limit:
            raise ArchiveInvalid(
                f"{signature.name}: a batch of {signature.max_batch_size} examples takes {needed} bytes; "
                f"TorchServe takes {limit}",
                hint="start the gateway again: limits are sized by the models that are there then",
            )

    @asynccontextmanager
    async def _turn(self, name: str, version: str) -> AsyncIterator[None]:
        """One at a time for each version, and for a model's default, which is version "" here."""
        key = name, version
        self._busy[key] += 1  # who waits for a turn counts as well
        try:
            async with self._turns[key]:
                yield
        finally:
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key], self._turns[key]

    def _file_of(self, signature: Signature) -> Path:
        return self._endpoint.model_store / f"{signature.name}-{signature.version}.mar"


def _number(version: str) -> tuple[int, str]:
    """What somebody else has registered may have a version that is no number: it comes first."""
    return (int(version) if version.isdecimal() else 0), version


def _write_private(path: Path, content: bytes) -> None:
    """Raises EngineUnavailable where there is no room, and leaves nothing then."""
    try:
        path.touch(mode=0o600)
        path.write_bytes(content)
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        words = os.strerror(error.errno or 0)
        raise EngineUnavailable(f"TorchServe's model store takes no archive: {words}") from error
