"""A client without our protos: it asks by reflection which services there are, and calls them."""

from __future__ import annotations

from typing import Any

import pytest

from support.clients import Told, ask
from support.served import Served

OIP = {
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer", "ModelStreamInfer",
    "ModelConfig", "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(open_gateway: Served) -> Told:
    return ask("reflecting.py", open_gateway.grpc)


@pytest.fixture(autouse=True)
def _row(told: Told, record_property: Any) -> None:
    record_property("client", told.client)


def test_list_of_services(told: Told) -> None:
    assert {
        "inference.GRPCInferenceService",
        "seqserve.v1.PredictionService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    } <= set(told["services"])


def test_methods_of_the_open_inference_protocol(told: Told) -> None:
    assert set(told["inference"]) == OIP


def test_methods_of_our_own_service(told: Told) -> None:
    assert set(told["our own"]) == {"Predict", "PredictStream", "ListModels", "GetModel"}


def test_model_metadata_through_reflected_descriptors(told: Told) -> None:
    assert told["metadata"]["platform"] == "pytorch_torchscript"


def test_infer_through_reflected_descriptors(told: Told) -> None:
    [output] = told["infer"]["outputs"]

    assert output["shape"] == ["1", "10"]
    assert sum(output["contents"]["fp32_contents"]) == pytest.approx(1.0, abs=1e-3)
