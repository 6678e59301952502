"""The contract cases as HTTP requests to a real TorchServe, whose models give back what they were fed.

Each case of decoding.json is an octet-stream with its shape and datatype in the headers, each of
images.json a file with its Content-Type. framing.json has no place here: BYTES tensors with several files are
the gateway's, and over HTTP a file is a request.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio
import torch
from torch import nn

from seqserve.engines.torchserve.config import TorchServePorts, TorchServeSettings
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.server import TorchServeServer
from seqserve.signature import Signature
from seqserve_models import handler
from support.archives import make_archive
from support.contract import Case, cases, content_of, rows_of, signature_document
from support.pictures import picture
from support.torchscript import scripted

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed"
    ),
]
DECODING, IMAGES = cases("decoding.json"), cases("images.json")
NOT_IN_HTTP = [case for case in DECODING if case["shape"] == []]
IN_HTTP = [case for case in DECODING if case not in NOT_IN_HTTP]
# Each signature is a worker, which takes seconds to import torch; those of the other cases start when asked.
AT_ONCE = {"tiny_image", "tiny_rgb", "line", "any_size"}
HANDLER = Path(handler.__file__).read_bytes()
JSON, JPEG = {"Content-Type": "application/json"}, {"Content-Type": "image/jpeg"}
PNG = {"Content-Type": "image/png"}
MAX_MESSAGE_BYTES = 200_000
GREY = [0.0, 0.25, 0.5, 0.75, 1.0, 0.125]


class Counting(nn.Module):
    """Each number, and beside it how many examples were run together."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.cat([batch, torch.full_like(batch, batch.shape[0])], dim=1)


@dataclass(frozen=True)
class TorchServe:
    """A TorchServe as its HTTP users and its operator see it."""

    endpoint: TorchServeEndpoint
    users: httpx.AsyncClient
    operators: httpx.AsyncClient
    models: set[str] = field(default_factory=set)

    async def register(self, name: str, signature: Signature, module: nn.Module, **options: int) -> None:
        """Put an archive into the model store and register it with one worker."""
        members = {f"{name}.pt": scripted(module), "handler.py": HANDLER}
        path = make_archive(self.endpoint.model_store, name, signature=signature, replace=members)
        wanted: dict[str, str | int] = {"url": path.name, "initial_workers": 1, "synchronous": "true"}
        reply = await self.operators.post("/models", params={**wanted, **options})
        assert reply.status_code == 200, reply.text
        self.models.add(name)

    async def worker(self, name: str) -> int:
        """Process id of a model's worker."""
        [described] = (await self.operators.get(f"/models/{name}")).json()
        return int(described["workers"][0]["pid"])

    async def give_back(self, name: str) -> None:
        """Have a model that gives back what it is fed, under a signature of the contract."""
        if name not in self.models:
            await self.register(name, giving_back(name), nn.Identity())

    async def ask(self, model: str, content: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        """Status and document of a prediction."""
        reply = await self.users.post(f"/predictions/{model}", content=content, headers=headers)
        assert reply.headers["content-type"] == "application/json"
        return reply.status_code, reply.json()


def authorized(url: str, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def giving_back(name: str) -> Signature:
    """The contract's signature as that of a regression whose output is its input."""
    document = json.loads(signature_document(name))
    output = {"name": "rows", "datatype": "FP32", "shape": document["input"]["shape"]}
    adapted = document | {"task": "regression", "output": output, "labels": []}
    return Signature.parse(json.dumps(adapted).encode())


def counted() -> Signature:
    document = json.loads(signature_document("line"))
    document["output"]["shape"] = [-1, 2]
    return Signature.parse(json.dumps(document).encode())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def torchserve() -> AsyncIterator[TorchServe]:
    server = TorchServeServer(
        TorchServeSettings(ports=TorchServePorts(0, 0, 0, 0, 0), max_message_bytes=MAX_MESSAGE_BYTES)
    )
    endpoint = await server.start()
    tokens = endpoint.tokens
    try:
        async with (
            authorized(endpoint.inference_url, tokens.inference()) as users,
            authorized(endpoint.management_url, tokens.management()) as operators,
        ):
            running = TorchServe(endpoint, users, operators)
            await asyncio.gather(
                *map(running.give_back, AT_ONCE),
                # A delay so long that only a full batch leaves in time.
                running.register("counting", counted(), Counting(), batch_size=4, max_batch_delay=30_000),
            )
            yield running
    finally:
        await server.stop()


def parameters(found: list[Case]) -> list[Any]:
    return [
        pytest.param(case, id=case["case"], marks=[] if case["signature"] in AT_ONCE else pytest.mark.long)
        for case in found
    ]


def tensor(case: Case) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a case of decoding.json."""
    return content_of(case), {
        "Content-Type": "application/octet-stream",
        "X-Tensor-Shape": ",".join(map(str, case["shape"])),
        "X-Tensor-Datatype": case["datatype"],
    }


def given_back(document: Any, signature: str) -> npt.NDArray[np.float32]:
    """Rows [n, elements] of a good answer."""
    assert (document["model_name"], document["model_version"]) == (signature, "1")
    return np.array(document["predictions"], np.float32)


@pytest.mark.parametrize("case", parameters(IN_HTTP))
async def test_an_octet_stream_becomes_rows_or_is_refused_with_the_reason(
    torchserve: TorchServe, case: Case
) -> None:
    await torchserve.give_back(case["signature"])
    status, document = await torchserve.ask(case["signature"], *tensor(case))

    if "error" in case:
        assert (status, document["reason"]) == (400, case["error"])
        missing = [words for words in case["says"] if words not in document["error"]]
        assert not missing, document["error"]
        return
    assert status == 200, document
    np.testing.assert_array_equal(given_back(document, case["signature"]), rows_of(case))


@pytest.mark.parametrize("case", parameters(IMAGES))
async def test_a_file_becomes_a_row_or_is_refused_with_the_reason(torchserve: TorchServe, case: Case) -> None:
    headers = JPEG if "jpeg" in case else PNG
    await torchserve.give_back(case["signature"])

    status, document = await torchserve.ask(case["signature"], picture(case), headers)

    if "error" in case:
        assert (status, document["reason"]) == (400, case["error"])
        return
    assert status == 200, document
    pixels = given_back(document, case["signature"]) * 255
    np.testing.assert_allclose(pixels, [case["row"]], atol=case.get("within", 0) + 0.01)


async def test_what_http_cannot_say_is_a_tensor_without_dimensions(torchserve: TorchServe) -> None:
    assert [case["case"] for case in NOT_IN_HTTP] == ["rank 0", "the datatype before the rank"]
    for case in NOT_IN_HTTP:  # an empty header is no list of sizes
        status, document = await torchserve.ask(case["signature"], *tensor(case))
        assert (status, document["reason"]) == (400, "SHAPE_NOT_ACCEPTED")


@pytest.mark.parametrize(
    "document",
    [GREY, [GREY], [GREY[:3], GREY[3:]], [GREY, GREY], {"instances": GREY}, {"instances": [GREY, GREY]}],
    ids=["flat", "flat batch", "nested", "two", "one instance", "two instances"],
)
async def test_json_becomes_rows(torchserve: TorchServe, document: Any) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}

    status, answer = await torchserve.ask("tiny_image", json.dumps(document).encode(), headers)

    assert status == 200, answer
    expected = np.reshape(document["instances"] if isinstance(document, dict) else document, (-1, 6))
    np.testing.assert_array_equal(given_back(answer, "tiny_image"), expected)


async def test_a_bad_request_in_a_batch_leaves_the_others_unharmed(torchserve: TorchServe) -> None:
    number = {"Content-Type": "application/octet-stream", "X-Tensor-Shape": "2", "X-Tensor-Datatype": "UINT8"}

    replies = await asyncio.gather(
        torchserve.ask("counting", b"[1.5]", JSON),
        torchserve.ask("counting", b"[[2.5], 3.5]", JSON),
        torchserve.ask("counting", bytes([7, 8]), number),
        torchserve.ask("counting", b'{"instances": [-9]}', JSON),
    )

    good, refused, raw, instances = (document for _, document in replies)
    assert [status for status, _ in replies] == [200, 400, 200, 200]
    assert refused["reason"] == "JSON_RAGGED"
    assert given_back(good, "counting").tolist() == [[1.5, 4]]  # four examples, so all three ran together
    assert given_back(raw, "counting").tolist() == [[7, 4], [8, 4]]
    assert given_back(instances, "counting").tolist() == [[-9, 4]]


async def test_what_is_too_large_is_refused_and_ends_no_worker(torchserve: TorchServe) -> None:
    worker = await torchserve.worker("tiny_rgb")

    case = {"datatype": "UINT8", "shape": [1024, 12], "content": {"fill": 85, "count": 1024 * 12}}
    status, document = await torchserve.ask("tiny_rgb", *tensor(case))
    assert (status, document["reason"]) == (413, "MESSAGE_TOO_LARGE")  # its reply would be

    request = b"[" + b" " * 2 * MAX_MESSAGE_BYTES + b"]"
    reply = await torchserve.users.post("/predictions/tiny_rgb", content=request, headers=JSON)
    assert (reply.status_code, reply.content) == (413, b"")

    assert await torchserve.worker("tiny_rgb") == worker
    assert (await torchserve.ask("tiny_rgb", json.dumps([0.5] * 12).encode(), JSON))[0] == 200
