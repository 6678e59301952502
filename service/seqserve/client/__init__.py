"""The client library: numpy in, numpy out. Needs neither torch nor the gateway's other modules.

It speaks `seqserve.v1` only, so it lives in one process with other Open Inference Protocol clients,
whose generated code claims the protobuf package `inference` for itself.
"""

from seqserve.client.aio import AsyncClient
from seqserve.client.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    MessageTooLarge,
    NotFound,
    Overloaded,
    PredictionError,
    Unavailable,
)
from seqserve.client.replies import Answer, Model, ModelVersions, Reply, StreamReply
from seqserve.client.requests import Examples
from seqserve.client.sync import Client

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "DeadlineExceeded",
    "Examples",
    "InternalError",
    "InvalidRequest",
    "MessageTooLarge",
    "Model",
    "ModelVersions",
    "NotFound",
    "Overloaded",
    "PredictionError",
    "Reply",
    "StreamReply",
    "Unavailable",
]
