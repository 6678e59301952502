"""One version in a TorchServe, as a model that can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np

from seqserve.engines.base import FloatArray
from seqserve.engines.torchserve.predictions import Calls, Predictions
from seqserve.engines.torchserve.wire import request_of, rows_of
from seqserve.errors import EngineUnavailable, Overloaded
from seqserve.signature import Signature

SLOW_SECONDS = 0.5
"""TorchServe has a batch wait for a worker that died when it was idle; it says so to who looks."""


class TorchServeModel:
    """Asks TorchServe for batches; a batch is split over the version's workers."""

    def __init__(
        self,
        signature: Signature,
        predictions: Predictions,
        *,
        workers: int,
        on_away: Callable[[Signature], None],
        on_slow: Callable[[], None] = lambda: None,
        on_unload: Callable[[Signature], Awaitable[None]],
    ) -> None:
        """Whom to tell.

        on_away: called when a batch shows that the version is away; on_slow: when one takes long, which may
        be the first sign of it. on_unload: awaited by `unload`.
        """
        self._signature = signature
        self._predictions = predictions
        self._workers = workers
        self._on_away = on_away
        self._on_slow = on_slow
        self._on_unload = on_unload
        self._calls: Calls = set()

    async def infer(self, batch: FloatArray) -> FloatArray:
        """See LoadedModel.infer. The caller's cancel cancels the calls."""
        slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._on_slow)
        try:
            return await self._infer(batch)
        except EngineUnavailable:
            self._on_away(self._signature)
            raise
        except Overloaded:  # TorchServe says the same where a version has no worker at all
            self._on_slow()
            raise
        finally:
            slow.cancel()

    def give_up(self) -> None:
        """What is in flight has no answer: TorchServe forgets jobs of a version that is taken away."""
        for call in list(self._calls):
            call.cancel()

    async def unload(self) -> None:
        """See LoadedModel.unload. A server that is away holds nothing: that is logged, not raised."""
        await self._on_unload(self._signature)

    async def _infer(self, batch: FloatArray) -> FloatArray:
        if self._workers == 1 or len(batch) == 1:
            return await self._ask(batch)
        parts = np.array_split(batch, min(self._workers, len(batch)))
        # All of them end before the first error is told: the slot is free only then.
        answers = await asyncio.gather(*map(self._ask, parts), return_exceptions=True)
        faults = [answer for answer in answers if isinstance(answer, BaseException)]
        if faults:  # that it is away says more than what else went wrong
            raise next((fault for fault in faults if isinstance(fault, EngineUnavailable)), faults[0])
        return np.concatenate([answer for answer in answers if not isinstance(answer, BaseException)])

    async def _ask(self, batch: FloatArray) -> FloatArray:
        prediction = await self._predictions.predict(request_of(self._signature, batch), self._calls)
        return rows_of(prediction, (len(batch), *self._signature.output.example_shape))
