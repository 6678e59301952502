"""Which scope each method of the gRPC ports needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from seqserve.client_settings import Scope
from seqserve.pb import inference_pb2
from seqserve.pb.v1 import prediction_pb2

_OIP = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_OURS = prediction_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name


def _of(service: str, methods: Iterable[str], scope: Scope) -> dict[str, Scope]:
    return {f"/{service}/{method}": scope for method in methods}


SCOPES: Mapping[str, Scope] = {
    **_of(_OIP, ["ServerLive", "ServerReady", "ServerMetadata"], "inference"),
    **_of(_OIP, ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"], "inference"),
    **_of(_OIP, ["ModelInfer", "ModelStreamInfer"], "inference"),
    **_of(_OIP, ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"], "admin"),
    **_of(_OURS, ["Predict", "PredictStream", "ListModels", "GetModel"], "inference"),
    **_of(health.SERVICE_NAME, ["Check", "List", "Watch"], "inference"),
    **_of(reflection.SERVICE_NAME, ["ServerReflectionInfo"], "inference"),
}
"""By their paths, as they go over the wire."""


def scope_of(path: str) -> Scope:
    """On the main port. What is not in the table is for administrators, so that nothing opens by omission."""
    return SCOPES.get(path, "admin")


def scope_on_admin_port(_: str) -> Scope:
    """All that is asked there belongs to loading and unloading."""
    return "admin"
