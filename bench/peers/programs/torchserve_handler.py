"""A TorchServe handler that does no more than it must: raw rows to raw rows, or lists to lists."""

from __future__ import annotations

from typing import Any

import torch
from ts.torch_handler.base_handler import BaseHandler

from bench.peers.programs import model


class Digits(BaseHandler):  # type: ignore[misc]
    """The model on a whole batch."""

    def initialize(self, context: Any) -> None:
        """Once, in the worker."""
        del context
        self._module = model.load()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        """One reply for each request."""
        del context
        bodies = [request.get("data") or request.get("body") for request in data]
        if all(isinstance(body, (bytes, bytearray)) for body in bodies):
            return list(model.answer_bytes(self._module, bodies))  # type: ignore[arg-type]
        rows = [torch.tensor(body["instances"]) for body in bodies if body]
        answered = model.forward(self._module, torch.cat(rows))
        return [part.tolist() for part in torch.split(answered, [len(each) for each in rows])]
