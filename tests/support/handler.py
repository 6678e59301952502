"""What the tests of the archive's handler share: TorchServe's side of a call, and tiny models."""

from __future__ import annotations

import hashlib
import json
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from seqserve_models.handler import Handler
from support.contract import signature_document

JSON = {"Content-Type": "application/json"}
GREY = [0.0, 0.25, 0.5, 0.75, 1.0, 0.125]
FAILED = "the model failed on this request; the server's log says why"


class FakeContext:
    """What the handler uses of TorchServe's context; headers are those of each row."""

    def __init__(self, folder: Path, headers: list[dict[str, Any]], gpu_id: int | None = None) -> None:
        self.system_properties = {"model_dir": str(folder), "gpu_id": gpu_id}
        self.manifest = {"model": {"serializedFile": "tiny.pt"}}
        self.statuses = [200] * len(headers)
        self.content_types = [""] * len(headers)
        self._headers = headers

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        return self._headers[idx]

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.statuses[idx] = code

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.content_types[idx] = value


class Recorded(nn.Module):
    """A module in front of another that notes how many examples each forward pass had."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.batch_sizes: list[int] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.batch_sizes.append(len(batch))
        answered: torch.Tensor = self.inner(batch)
        return answered


class Answering(nn.Module):
    """A module that gives the same tensor whatever came, or raises."""

    def __init__(self, answer: torch.Tensor | Exception) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def brightness() -> nn.Sequential:
    """Six numbers to (dark, bright), by their sum."""
    linear = nn.Linear(6, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-1.0] * 6, [1.0] * 6]))
        linear.bias.copy_(torch.tensor([3.0, -3.0]))
    return nn.Sequential(nn.Flatten(), linear, nn.Softmax(dim=1))


def doubling() -> nn.Sequential:
    """Twice the number."""
    linear = nn.Linear(1, 1)
    with torch.no_grad():
        linear.weight.fill_(2.0)
        linear.bias.zero_()
    return nn.Sequential(linear)


def unpack(folder: Path, signature: str, module: nn.Module) -> Path:
    """The members that the handler reads, as TorchServe unpacks them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript
        scripted = torch.jit.script(module)
        torch.jit.save(scripted, folder / "tiny.pt")
    (folder / "signature.json").write_bytes(signature_document(signature))
    sums = [
        f"{hashlib.sha256((folder / member).read_bytes()).hexdigest()}  {member}\n"
        for member in ("signature.json", "tiny.pt")
    ]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def load(folder: Path, signature: str, module: nn.Module) -> Handler:
    loaded = Handler()
    loaded.initialize(FakeContext(unpack(folder, signature, module), []))
    return loaded


def over_http(loaded: Handler, body: object, headers: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and JSON document of a lone HTTP row."""
    context = FakeContext(Path(), [headers])
    (reply,) = loaded.handle([{"body": body}], context)
    assert context.content_types == ["application/json"]
    return context.statuses[0], json.loads(reply)


def gateway_row(values: npt.ArrayLike, shape: tuple[int, ...]) -> dict[str, bytearray]:
    return {
        "data": bytearray(np.asarray(values, "<f4").tobytes()),
        "shape": bytearray(struct.pack(f"<{len(shape)}q", *shape)),
        "datatype": bytearray(b"FP32"),
    }


def over_gateway(loaded: Handler, row: dict[str, bytearray]) -> bytes:
    """The reply to a lone row of the gateway, whose HTTP status says nothing.

    Over gRPC, TorchServe knows no headers of the request; it notes one of its own for each key.
    """
    context = FakeContext(Path(), [{key: {"content-type": ""} for key in row}])
    (reply,) = loaded.handle([row], context)
    assert context.statuses == [200]
    assert context.content_types == ["application/octet-stream"]
    return reply


def expected_probabilities(rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(brightness()(torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)))
