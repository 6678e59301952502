"""Repositories that are loaded from archives, without a gateway around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from seqserve.batching.batcher import Batcher, BatchLimits
from seqserve.batching.observers import VersionObserver
from seqserve.engines.base import Engine, LoadedModel
from seqserve.predictor import batch_runner
from seqserve.repository.loading import Loading, LoadObserver
from seqserve.repository.patience import Patience
from seqserve.repository.policy import VersionPolicy
from seqserve.repository.sync import StoreSync
from seqserve.repository.table import Repository
from seqserve.repository.versions import RowBatcher
from seqserve.signature import Signature


def make_batcher(signature: Signature, model: LoadedModel, observer: VersionObserver) -> RowBatcher:
    """One slot of its own, and the defaults."""
    limits = BatchLimits(signature.max_batch_size)
    return Batcher(batch_runner(model, observer), limits, slots=asyncio.Semaphore(1), observer=observer)


def store_sync(
    repository: Repository,
    list_archives: Callable[[], Sequence[Path]],
    engine: Engine,
    *,
    policy_of: Callable[[str], VersionPolicy] = lambda _: VersionPolicy(),
    observer_of: Callable[[str, str], VersionObserver] = lambda _, __: VersionObserver(),
    observer: LoadObserver | None = None,
    clock: Callable[[], float] = lambda: 0.0,
) -> StoreSync:
    """What keeps the repository in step with archives."""
    loading = Loading(repository, engine, make_batcher, observer_of, observer or LoadObserver())
    return StoreSync(repository, loading, list_archives, policy_of, Patience(clock))


async def load_all(repository: Repository, archives: Sequence[Path], engine: Engine) -> StoreSync:
    """Try these archives, as a start does."""
    sync = store_sync(repository, lambda: archives, engine)
    await sync.load_initially()
    return sync
