"""The embedded engine against the bare forward pass on one device, in this process and in turns.

`python -m bench.references.engine ARCHIVE DEVICE PAIRS` prints `[[ours, forward], …]` as JSON: batches of 256
a second, from rows to probabilities on the host. On a GPU the forward's rows lie in pinned memory.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from seqserve.archive import Archive, read_archive
from seqserve.engines.base import FloatArray
from seqserve.engines.embedded import EmbeddedEngine, EmbeddedModel
from seqserve.trust import UNCHECKED

EXAMPLES = 256
SECONDS = 0.5
WARM_UP_PASSES = 20


def rate(run: Callable[[], object]) -> float:
    """Calls a second; each returns when its answers are on the host."""
    calls, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < SECONDS:
        run()
        calls += 1
    return calls / passed


def bare(archive: Archive, rows: FloatArray, device: str) -> Callable[[], object]:
    """The forward pass without an engine."""
    module = torch.jit.load(io.BytesIO(archive.torchscript), map_location=device)  # type: ignore[no-untyped-call]
    batch = torch.from_numpy(rows)  # [256, *example]
    batch = batch if device == "cpu" else batch.pin_memory()

    def run() -> object:
        with torch.inference_mode():
            return module(batch.to(device, non_blocking=True)).cpu()

    return run


def through(model: EmbeddedModel, archive: Archive, rows: FloatArray) -> Callable[[], object]:
    """The engine's batches, as a compute slot runs them."""
    answers = np.empty((EXAMPLES, *archive.signature.output.example_shape), np.float32)
    return lambda: model.compute(rows, answers)


async def main() -> None:
    """Measure the pairs. Raises SettingsInvalid for a device that is not here."""
    archive, device, pairs = read_archive(Path(sys.argv[1]), UNCHECKED), sys.argv[2], int(sys.argv[3])
    rows = np.resize(archive.golden_inputs, (EXAMPLES, *archive.golden_inputs.shape[1:]))
    engine = EmbeddedEngine(device=device)
    model = await engine.load(archive)
    ours, forward = through(model, archive, rows), bare(archive, rows, device)
    for _ in range(WARM_UP_PASSES):
        ours(), forward()
    print(json.dumps([(rate(ours), rate(forward)) for _ in range(pairs)]))
    await engine.aclose()


if __name__ == "__main__":
    asyncio.run(main())
