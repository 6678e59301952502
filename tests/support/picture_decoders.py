"""The two that decode pictures, the gateway and the archive's handler, in one form."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from seqserve.errors import InvalidRequest
from seqserve.images import decode_image
from seqserve.signature import Signature
from seqserve.tensors import rows_of_pixels
from seqserve_models import handler
from support.contract import signature_document

Rows = npt.NDArray[np.float32]
Decode = Callable[[bytes, str], Rows | str]


def by_gateway(content: bytes, signature_name: str) -> Rows | str:
    """Rows or the reason of a refusal."""
    signature = Signature.parse(signature_document(signature_name))
    try:
        pixels = decode_image(content, signature, 0)
    except InvalidRequest as refused:
        return refused.detail
    return rows_of_pixels(pixels[np.newaxis], signature)


def by_handler(content: bytes, signature_name: str) -> Rows | str:
    """Rows or the reason of a refusal; TorchServe hands over a bytearray."""
    try:
        return handler.decode_image(bytearray(content), json.loads(signature_document(signature_name)))
    except handler.Refused as refused:
        return refused.reason


each_decoder = pytest.mark.parametrize("decode", [by_gateway, by_handler])
