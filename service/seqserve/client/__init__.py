"""The client library: numpy in, numpy out. Needs neither torch nor the gateway's other modules.

It speaks `seqserve.v1` only, so it lives in one process with other Open Inference Protocol clients,
whose generated code claims the protobuf package `inference` for itself.
"""

from seqserve.client.client import Answer, Client, Model, PredictionError, Reply

__all__ = ["Answer", "Client", "Model", "PredictionError", "Reply"]
