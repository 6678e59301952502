"""signature.json of an archive: a signature that the gateway can live with, or ArchiveInvalid."""

from __future__ import annotations

import json
import math

from fuzz.json_mutator import mutated
from fuzz.signatures import DOCUMENTS
from fuzz.target import Target
from seqserve.errors import ArchiveInvalid
from seqserve.signature import MAX_BATCH_BYTES, MAX_EXAMPLE_BYTES, ImageSize, Signature
from seqserve_models import handler


def check(data: bytes) -> None:
    """Read a document; what is taken is bounded, and means the same to the handler."""
    try:
        signature = Signature.parse(data)
    except ArchiveInvalid as refused:
        assert str(refused)
        return
    check_bounds(signature)
    _check_handler(signature, json.loads(data))
    again = Signature.parse(signature.model_dump_json().encode())
    assert again == signature


def check_bounds(signature: Signature) -> None:
    """What warming an engine up relies on."""
    example = 4 * (signature.elements + math.prod(signature.output.example_shape))
    assert example <= MAX_EXAMPLE_BYTES
    assert example * signature.max_batch_size <= MAX_BATCH_BYTES
    assert all(math.prod(shape) == signature.elements for shape in signature.layouts)
    assert signature.name.isascii()
    assert "/" not in signature.name
    assert int(signature.version) > 0
    for tensor in (signature.input, signature.output):
        assert tensor.name.isprintable()


def _check_handler(signature: Signature, document: dict[str, object]) -> None:
    """It reads the same file with nothing but json."""
    assert handler.takes_images(document) == (signature.image_size is not None)
    if signature.image_size is not None:
        height, width, channels = handler.image_size(document)
        assert signature.image_size == ImageSize(height, width, channels)
    for shape in signature.layouts:
        found = handler.accepted_example((1, *shape), document)
        assert tuple(found["shape"]) == shape
        assert found["layout"] == signature.layouts[shape]


def seeds() -> list[bytes]:
    """The contract's signatures."""
    return [json.dumps(document).encode() for document in DOCUMENTS.values()]


TARGET = Target(
    "signature",
    check,
    seeds,
    (
        *(f'"{field}"'.encode() for field in Signature.model_fields), b'"flat"', b'"HW"', b'"CHW"', b'"HWC"',
        b'"shape"', b'"layout"', b'"regression"', b"null", b"true", b"1e999", b"NaN", b"-1", b"2147483648",
        b"\\u2028", b"\\ud800", b"[[[[", b'{"":',
    ),
    mutate=mutated,
)  # fmt: skip
