"""Where a TorchServe of our own answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seqserve.engines.torchserve.tokens import KeyFile


@dataclass(frozen=True, slots=True)
class TorchServeEndpoint:
    """Where it answers, and how.

    grpc_target: `host:port` of the gRPC inference API.
    inference_url, management_url, metrics_url: HTTP.
    model_store: the server's model store, a folder that only we write to.
    max_message_bytes: what the server takes and sends at most.
    """

    grpc_target: str
    inference_url: str
    management_url: str
    metrics_url: str
    tokens: KeyFile
    model_store: Path
    max_message_bytes: int
