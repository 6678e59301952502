"""A page of metrics for what is not here: our own code writes it of a GPU, and TorchServe's is a recorded one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from seqserve.engines.base import DeviceMemory
from seqserve.metrics.counts import Metrics
from seqserve.metrics.gpu import GpuMetrics

RECORDED = Path(__file__).parents[1] / "monitoring" / "torchserve.prom"
"""What a TorchServe 0.12 wrote, in front of which a gateway had answered a few calls."""


@dataclass
class Gpu:
    """A GPU that is half full and computes half of the time."""

    device: str = "cuda:0"

    def memory(self) -> DeviceMemory:
        return DeviceMemory(2**32, 2**33)

    def utilisation(self) -> float:
        return 0.5


@contextmanager
def played_page() -> Iterator[str]:
    """HOST:PORT of a page that our metrics code writes for a GPU and a TorchServe that are not here."""
    registry = CollectorRegistry()
    registry.register(GpuMetrics(Gpu()))
    metrics = Metrics(registry)
    metrics.note_restart()
    metrics.note_drift("missing")

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(generate_latest(registry) + RECORDED.read_bytes())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
