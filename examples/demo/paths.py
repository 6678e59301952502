"""The ways to ask: Open Inference Protocol, our own API, and TorchServe's HTTP."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import grpc
import httpx
import numpy as np
import numpy.typing as npt
from PIL import Image

from examples.demo.command import RunningGateway
from examples.demo.digits import PixelArray
from seqserve.client import Client
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Answers:
    """labels: one for each digit; probabilities: FP32 [n, 10]; device: `cpu` or `cuda`, where it is known."""

    labels: list[str]
    probabilities: npt.NDArray[np.float32]
    device: str = "cpu"


def ask_with_raw_tensors(gateway: RunningGateway, model: str, images: PixelArray) -> Answers:
    """ModelInfer with the pixels as they are: UINT8 [n, 28, 28], raw."""
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="image", datatype="UINT8", shape=images.shape)
    request.raw_input_contents.append(images.tobytes())
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        reply = stub.ModelInfer(request, timeout=TIMEOUT_SECONDS)
    probabilities = np.frombuffer(reply.raw_output_contents[0], "<f4").reshape(reply.outputs[0].shape)
    device = reply.parameters["seqserve_device"].string_param.partition(":")[0]
    return Answers([str(index) for index in probabilities.argmax(axis=1)], probabilities, device)


def ask_own_api(gateway: RunningGateway, model: str, images: PixelArray) -> Answers:
    """Predict with PNG files."""
    with Client(gateway.grpc, timeout_seconds=TIMEOUT_SECONDS) as client:
        reply = client.predict([_png(image) for image in images], model=model)
    return Answers(
        [answer.label for answer in reply.answers], np.stack([answer.values for answer in reply.answers])
    )


def ask_torchserve_over_http(gateway: RunningGateway, model: str, images: PixelArray) -> Answers:
    """POST /predictions/<model> with the intensities as JSON, and the token from TorchServe's key file."""
    token = json.loads(gateway.tokens.read_text())["inference"]["key"]
    intensities = images.astype(np.float32) / np.float32(255)
    response = httpx.post(
        f"{gateway.torchserve}/predictions/{model}",
        json={"instances": intensities.tolist()},
        headers={"Authorization": f"Bearer {token}"},
        timeout=TIMEOUT_SECONDS,
    )
    response.raise_for_status()
    predictions = response.json()["predictions"]
    probabilities = np.asarray([prediction["probabilities"] for prediction in predictions], np.float32)
    return Answers([prediction["label"] for prediction in predictions], probabilities)


def _png(pixels: PixelArray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
