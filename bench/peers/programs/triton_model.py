"""A model of Triton's Python backend: joins what the scheduler has batched, and runs it once."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

# The backend's own interpreter reads no PYTHONPATH.
sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)

import numpy as np  # noqa: E402 - behind the path
import torch  # noqa: E402
import triton_python_backend_utils as triton  # type: ignore[import-not-found]  # noqa: E402

from bench.peers.programs import model  # noqa: E402


class TritonPythonModel:
    """The name that the backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Once, in the stub's process."""
        configuration = json.loads(args["model_config"])
        self._output: str = configuration["output"][0]["name"]
        self._module = model.load()

    def execute(self, requests: list[Any]) -> list[Any]:
        """One reply for each request."""
        inputs = [request.inputs()[0].as_numpy() for request in requests]
        joined = np.concatenate(inputs) if len(inputs) > 1 else np.array(inputs[0])
        answered = model.forward(self._module, torch.from_numpy(joined)).numpy()
        replies, first = [], 0
        for rows in inputs:
            tensor = triton.Tensor(self._output, answered[first : first + len(rows)])
            replies.append(triton.InferenceResponse([tensor]))
            first += len(rows)
        return replies
