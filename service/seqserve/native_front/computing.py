"""What a native queue calls once a batch, in a compute slot's thread: the way from its rows to a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import CancelledError

from seqserve.engines.base import DirectModel, FloatArray, LoadedModel
from seqserve.errors import EngineContractError, EngineUnavailable
from seqserve.native_front.faults import Faults

Compute = Callable[[FloatArray, FloatArray], None]
"""Rows [n, input width] in, answers [n, output width] written; raises EngineFault and nothing else."""


def computing(model: LoadedModel, example_shape: tuple[int, ...], faults: Faults) -> Compute:
    """Runs batches of a model: in the calling thread where it can, else on the running event loop."""
    run = model.compute if isinstance(model, DirectModel) else _on_loop(model)
    is_flat = len(example_shape) == 1

    def compute(rows: FloatArray, answers: FloatArray) -> None:
        try:
            run(rows if is_flat else rows.reshape(len(rows), *example_shape), answers)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is the batch's, and told by its number
            fault = faults.note(error)
        else:
            return
        del rows, answers  # the frames that the error keeps lead back to this one
        raise fault  # out here the error is not its context

    return compute


def _on_loop(model: LoadedModel) -> Compute:
    loop = asyncio.get_running_loop()

    def run(batch: FloatArray, answers: FloatArray) -> None:
        try:
            found = asyncio.run_coroutine_threadsafe(model.infer(batch), loop).result()
        except CancelledError as error:
            raise EngineUnavailable("the engine gave the batch up") from error
        if len(found) != len(batch):
            raise EngineContractError(f"{len(found)} answers to {len(batch)} examples")
        if found.size != answers.size:
            raise EngineContractError(f"answers of shape {found.shape} where {answers.shape} go")
        answers[:] = found.reshape(answers.shape)

    return run
