"""mosec with raw bytes over HTTP. MOSEC_BATCH: examples in a batch; 1 turns batching off."""

from __future__ import annotations

import os

from mosec import Server, Worker  # type: ignore[import-not-found]  # in its own environment

from bench.peers.programs import model

BATCH = int(os.environ.get("MOSEC_BATCH", "1"))
WAIT_MS = 1


class Digits(Worker):  # type: ignore[misc]
    """The model, in a process of its own."""

    def __init__(self) -> None:
        self._module = model.load()

    def deserialize(self, data: bytes) -> bytes:
        """The body as it came."""
        return data

    def serialize(self, data: bytes) -> bytes:
        """The rows as they are."""
        return data

    def forward(self, data: list[bytes] | bytes) -> list[bytes] | bytes:
        """Bodies where it batches, else one."""
        if isinstance(data, list):
            return model.answer_bytes(self._module, data)
        return model.answer_bytes(self._module, [data])[0]


if __name__ == "__main__":
    server = Server()
    if BATCH > 1:
        server.append_worker(Digits, num=1, max_batch_size=BATCH, max_wait_time=WAIT_MS)
    else:
        server.append_worker(Digits, num=1)
    server.run()
