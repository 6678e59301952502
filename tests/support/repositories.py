"""Repositories that are loaded from archives, without a gateway around them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial
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
from seqserve.trust import UNCHECKED, Trust


def make_batcher(
    signature: Signature, model: LoadedModel, observer: VersionObserver, *, longest: float = math.inf
) -> RowBatcher:
    """One slot of its own, and the defaults; a batch may take `longest` seconds."""
    limits = BatchLimits(signature.max_batch_size, max_batch_seconds=longest)
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
    longest: float = math.inf,
    trust: Trust = UNCHECKED,
) -> StoreSync:
    """What keeps the repository in step with archives."""
    making = partial(make_batcher, longest=longest)
    loading = Loading(repository, engine, making, observer_of, observer or LoadObserver(), trust)
    return StoreSync(repository, loading, list_archives, policy_of, Patience(clock))


async def load_all(
    repository: Repository, archives: Sequence[Path], engine: Engine, *, longest: float = math.inf
) -> StoreSync:
    """Try these archives, as a start does."""
    sync = store_sync(repository, lambda: archives, engine, longest=longest)
    await sync.load_initially()
    return sync
