"""One answer as it goes over HTTP: JSON, perhaps with bytes behind it."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from seqserve.classification import ranked
from seqserve.http_api.binary_extension import HEADER, SIZE
from seqserve.http_api.infer_message import InferMessage
from seqserve.http_api.json_tensors import array_text
from seqserve.oip_answers import receipt_parameters
from seqserve.predictor import Prediction
from seqserve.tensors import join_bytes


def encode_reply(message: InferMessage, prediction: Prediction) -> Response:
    """Who answered, the receipt, and the output in the form that the message asks for."""
    head: dict[str, Any] = {"id": message.id} if message.id else {}
    head |= {"model_name": prediction.model, "model_version": prediction.version}
    head["parameters"] = receipt_parameters(prediction.receipt)
    count = message.class_count(prediction.signature)
    if count is not None:
        return _classes(head, message, prediction, count)
    output = _output(prediction, "FP32", prediction.rows.shape)
    if message.is_binary:
        return _binary(head, output, prediction.rows.astype("<f4", copy=False).tobytes())
    return _json(head, output, array_text(prediction.rows))


def _classes(head: dict[str, Any], message: InferMessage, prediction: Prediction, count: int) -> Response:
    """The best classes as BYTES [n, min(count, classes)]."""
    rows = ranked(prediction.rows, count, prediction.signature.labels)
    elements = [element for row in rows for element in row]
    output = _output(prediction, "BYTES", (len(rows), len(rows[0])))
    if message.is_binary:
        return _binary(head, output, join_bytes(elements))
    return _json(head, output, _text([element.decode() for element in elements]))


def _json(head: dict[str, Any], output: dict[str, Any], array: str) -> Response:
    """The array is text already: long ones are written piece by piece."""
    text = f'{_text(head)[:-1]},"outputs":[{_text(output)[:-1]},"data":{array}}}]}}'
    return Response(text, media_type="application/json")


def _binary(head: dict[str, Any], output: dict[str, Any], content: bytes) -> Response:
    output["parameters"] = {SIZE: len(content)}
    text = _text({**head, "outputs": [output]}).encode()
    headers = {HEADER: str(len(text))}
    return Response(text + content, media_type="application/octet-stream", headers=headers)


def _output(prediction: Prediction, datatype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": prediction.signature.output.name, "datatype": datatype, "shape": list(shape)}


def _text(document: object) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
