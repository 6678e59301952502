"""The archive's forward pass in this process, one thread: what no server can beat.

`python -m bench.references.forward ARCHIVE` prints the seconds of one pass as JSON, by examples: `{"1": …}`.
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from seqserve.archive import read_archive
from seqserve.trust import UNCHECKED

SIZES = (1, 32, 256)
SECONDS = 0.3
WARM_UP_PASSES = 50


def seconds_of(module: torch.jit.ScriptModule, batch: torch.Tensor) -> float:
    """The median pass over a batch [n, *example]."""
    passes = []
    for _ in range(WARM_UP_PASSES):
        module(batch)
    until = time.perf_counter() + SECONDS
    while (started := time.perf_counter()) < until:
        module(batch)
        passes.append(time.perf_counter() - started)
    return float(np.median(passes))


def main() -> None:
    """Time each size."""
    torch.set_num_threads(1)
    archive = read_archive(Path(sys.argv[1]), UNCHECKED)
    module = torch.jit.load(io.BytesIO(archive.torchscript))  # type: ignore[no-untyped-call]
    rows = archive.golden_inputs
    with torch.inference_mode():
        batches = {size: torch.from_numpy(rows[np.arange(size) % len(rows)]) for size in SIZES}
        print(json.dumps({size: seconds_of(module, batch) for size, batch in batches.items()}))


if __name__ == "__main__":
    main()
