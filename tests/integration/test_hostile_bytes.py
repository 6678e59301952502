"""What BYTES tensors could carry beside pictures: pickles, paths, URLs. It is a picture or it is refused.

The peers' class: pickled inputs that run code (BentoML's CVE-2024-2912 and CVE-2025-27520 among them).
"""

from __future__ import annotations

import base64
import os
import pickle
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.v1 import prediction_pb2
from support.archives import npy, npz
from support.audit import audited
from support.oip import details_of, inference_stub, prediction_stub
from support.rest import INFER, binary, infer_document

MARK = "seqserve-was-here"


class Harmful:
    """Whoever unpickles it runs a command."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {MARK}",)


PICKLE = pickle.dumps(Harmful())
BLOBS = {
    "a pickle": PICKLE,
    "an old pickle": pickle.dumps(Harmful(), protocol=0),
    "an array of objects": npy(np.array([Harmful()], object)),
    "an archive of such arrays": npz(inputs=np.array([Harmful()], object)),
    "a path": b"/etc/passwd",
    "a URL of a file": b"file:///etc/passwd",
    "a URL": b"http://127.0.0.1:9/picture.png",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 2\n",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "a PNG that is a pickle": b"\x89PNG\r\n\x1a\n" + PICKLE,
}


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as client:
        await client.post(INFER, json=infer_document())  # its connection is there
        yield client


@pytest.mark.parametrize("name", BLOBS)
async def test_it_is_no_picture_whatever_it_is(
    http: httpx.AsyncClient,
    channel: grpc.aio.Channel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    blob = BLOBS[name]
    picture = {"name": "image", "datatype": "BYTES", "shape": [1]}
    body, headers = binary({"inputs": [dict(picture)]}, len(blob).to_bytes(4, "little") + blob)
    in_json = {**picture, "data": [base64.b64encode(blob).decode()], "parameters": {"content_type": "base64"}}
    typed = pb.ModelInferRequest(model_name="tiny")
    typed.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(blob)
    own = prediction_pb2.PredictRequest(model="tiny", images=prediction_pb2.Images(encoded=[blob]))
    with pytest.raises(grpc.aio.AioRpcError):  # what reads pictures is imported with the first of them
        await inference_stub(channel).ModelInfer(typed)
    with audited() as watched:
        replies = [
            await http.post(INFER, content=body, headers=headers),
            await http.post(INFER, json={"inputs": [in_json]}),
        ]
        for call in (inference_stub(channel).ModelInfer(typed), prediction_stub(channel).Predict(own)):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await call
            assert details_of(refusal.value)["ErrorInfo"].reason in {"IMAGE_FORMAT", "IMAGE_BROKEN"}

    assert [reply.json()["reason"] in {"IMAGE_FORMAT", "IMAGE_BROKEN"} for reply in replies] == [True, True]
    assert watched.events == []
    assert not (tmp_path / MARK).exists()


def test_the_pickle_is_harmful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with audited() as watched:
        pickle.loads(PICKLE)  # noqa: S301 - on purpose

    assert (tmp_path / MARK).exists()
    assert {name for name, _ in watched.events} >= {"pickle.find_class", "os.system"}
