"""Which versions a TorchServe of our own is to have, and the calls that give them to it."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from contextlib import suppress
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

    workers: of each version. response_seconds: a worker that takes longer for a batch is started again.
    changes: grows with every version that comes or goes.
    """

    def __init__(
        self, endpoint: TorchServeEndpoint, management: Management, *, workers: int, response_seconds: int
    ) -> None:
        self.workers = workers
        self.changes = 0
        self._endpoint = endpoint
        self._management = management
        self._response_seconds = response_seconds
        self._wanted: dict[Key, Signature] = {}
        self._defaults: dict[str, str] = {}
        self._turns: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)

    def settled(self) -> list[Signature]:
        """What should be registered now, without what is just coming or going."""
        return [signature for key, signature in self._wanted.items() if not self._is_busy(key)]

    def wanted(self) -> list[Signature]:
        """What is registered, or is to be."""
        return list(self._wanted.values())

    def is_stray(self, name: str, version: str) -> bool:
        """Whether nobody here has asked for it."""
        return (name, version) not in self._wanted and not self._is_busy((name, version))

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
        self._check(signature)
        async with self._turns[key]:
            await asyncio.to_thread(_write_private, self._file_of(signature), archive.content)
            self._wanted[key] = signature
            try:
                await self._register(signature)
            except BaseException:
                await self._forget(signature)  # one whose worker does not start stays registered
                raise
        self.changes += 1

    async def remove(self, signature: Signature) -> None:
        """Take a version out of TorchServe; what goes wrong is logged."""
        async with self._turns[signature.name, signature.version]:
            await self._forget(signature)
        self._turns.pop((signature.name, signature.version), None)
        self.changes += 1

    async def register_again(self, signature: Signature) -> None:
        """One that got lost, if it is still wanted. Raises ArchiveInvalid, EngineUnavailable."""
        key = signature.name, signature.version
        async with self._turns[key]:
            if key in self._wanted:
                await self._management.unregister(*key)  # or what is left of it
                await self._register(signature)

    async def set_default(self, name: str, version: str) -> None:
        """From now on. Raises ArchiveInvalid, EngineUnavailable."""
        self._defaults[name] = version
        await self.follow_default(name)

    async def follow_default(self, name: str) -> None:
        """Tell TorchServe the default version. Raises ArchiveInvalid, EngineUnavailable."""
        if version := self.default(name):
            await self._management.set_default(name, version)

    async def has_gpu(self, signature: Signature) -> bool:
        """Whether a worker of it was given a GPU. Raises EngineUnavailable."""
        model = await self._management.describe(signature.name)
        found = model.versions.get(signature.version) if model is not None else None
        return found is not None and found.has_gpu

    async def _register(self, signature: Signature) -> None:
        file = self._file_of(signature).name
        await self._management.register(file, workers=self.workers, response_seconds=self._response_seconds)
        await self.follow_default(signature.name)

    async def _forget(self, signature: Signature) -> None:
        name, version = signature.name, signature.version
        self._wanted.pop((name, version), None)
        try:
            await self.follow_default(name)
            await self._management.unregister(name, version)
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

    def _is_busy(self, key: Key) -> bool:
        return key in self._turns and self._turns[key].locked()

    def _file_of(self, signature: Signature) -> Path:
        return self._endpoint.model_store / f"{signature.name}-{signature.version}.mar"


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
