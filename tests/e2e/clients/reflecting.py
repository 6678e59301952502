"""A client that knows nothing but an address: `reflecting.py ADDRESS`. Reflection tells it the rest."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from support.features import tell

INFERENCE = "inference.GRPCInferenceService"
OUR_OWN = "seqserve.v1.PredictionService"


class Reflecting:
    """A channel with the descriptors that its server tells of."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self._pool = DescriptorPool(self.database)

    def methods(self, service: str) -> list[str]:
        """Names of a service's methods."""
        return sorted(method.name for method in self._pool.FindServiceByName(service).methods)

    def call(self, service: str, method: str, request: dict[str, Any]) -> Any:
        """Call a unary method, JSON in and out."""
        descriptor = self._pool.FindServiceByName(service).FindMethodByName(method)
        invoke = self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=GetMessageClass(descriptor.input_type).SerializeToString,
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        message = ParseDict(request, GetMessageClass(descriptor.input_type)())
        return MessageToDict(invoke(message), preserving_proto_field_name=True)


def predict(client: Reflecting) -> Any:
    """One blank picture, as typed contents."""
    blank = {
        "name": "image",
        "datatype": "FP32",
        "shape": [1, 784],
        "contents": {"fp32_contents": [0.0] * 784},
    }
    return client.call(INFERENCE, "ModelInfer", {"model_name": "digit_mlp", "inputs": [blank]})


async def main(address: str) -> None:
    """List, describe, call."""
    with grpc.insecure_channel(address) as channel:
        client = Reflecting(channel)
        await tell(
            f"grpc_reflection {version('grpcio-reflection')}",
            {
                "services": lambda: list(client.database.get_services()),
                "inference": partial(client.methods, INFERENCE),
                "our own": partial(client.methods, OUR_OWN),
                "metadata": partial(client.call, INFERENCE, "ModelMetadata", {"name": "digit_mlp"}),
                "infer": partial(predict, client),
            },
        )


asyncio.run(main(*sys.argv[1:]))
