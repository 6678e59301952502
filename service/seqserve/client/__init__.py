"""The client library: numpy in, numpy out. Needs neither torch nor the gateway's other modules.

It speaks `seqserve.v1` only, so it lives in one process with other Open Inference Protocol clients,
whose generated code claims the protobuf package `inference` for itself.
"""

from seqserve.client.aio import AsyncClient
from seqserve.client.errors import (
    ClientOverLimit,
    DeadlineExceeded,
    HandshakeFailed,
    InternalError,
    InvalidRequest,
    MessageTooLarge,
    NotFound,
    Overloaded,
    PermissionDenied,
    PredictionError,
    Unauthenticated,
    Unavailable,
)
from seqserve.client.replies import Answer, Model, ModelVersions, Reply, StreamReply
from seqserve.client.requests import Examples
from seqserve.client.sync import Client
from seqserve.client.tls import Tls

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "ClientOverLimit",
    "DeadlineExceeded",
    "Examples",
    "HandshakeFailed",
    "InternalError",
    "InvalidRequest",
    "MessageTooLarge",
    "Model",
    "ModelVersions",
    "NotFound",
    "Overloaded",
    "PermissionDenied",
    "PredictionError",
    "Reply",
    "StreamReply",
    "Tls",
    "Unauthenticated",
    "Unavailable",
]
