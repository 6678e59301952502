"""What the client makes of arrays, numbers and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seqserve.client.requests import DATATYPES, predict_request
from seqserve.pb.v1 import prediction_pb2 as pb


def tensor(examples: Any) -> pb.Tensor:
    request = predict_request(examples, model="m", version="", top_k=0)
    assert request.WhichOneof("input") == "tensor"
    return request.tensor


def sent(examples: Any) -> tuple[str, list[int], list[float]]:
    """Datatype, shape and values as the bytes say."""
    message = tensor(examples)
    dtype = next(name for name, datatype in DATATYPES.items() if datatype == message.datatype)
    values = np.frombuffer(message.content, np.dtype(dtype).newbyteorder("<"))
    return message.datatype, list(message.shape), values.tolist()


@pytest.mark.parametrize(("dtype", "datatype"), DATATYPES.items())
def test_arrays_keep_their_dtype_and_shape(dtype: str, datatype: str) -> None:
    array = np.arange(6).astype(dtype).reshape(2, 3)
    assert sent(array) == (datatype, [2, 3], [0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2] / 2,
    ],
    ids=["big-endian", "column-major", "strided"],
)
def test_bytes_are_little_endian_and_row_major(array: np.ndarray) -> None:
    assert sent(array) == ("FP32", [2, 3], [0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("examples", "datatype", "shape", "values"),
    [
        (1.5, "FP32", [1], [1.5]),
        (3, "FP32", [1], [3]),
        ([1, 2.5], "FP32", [2], [1, 2.5]),
        (((1, 2), (3, 4)), "FP32", [2, 2], [1, 2, 3, 4]),
        (np.float32(1.5), "FP32", [1], [1.5]),
        (np.uint8(7), "UINT8", [1], [7]),
        (np.array(1.5, np.float16), "FP16", [1], [1.5]),
        ([np.uint8(7), np.uint8(8)], "UINT8", [2], [7, 8]),
        ([np.zeros(2, np.float32), np.ones(2, np.float32)], "FP32", [2, 2], [0, 0, 1, 1]),
    ],
)
def test_numbers_and_lists_are_taken(
    examples: object, datatype: str, shape: list[int], values: list[float]
) -> None:
    assert sent(examples) == (datatype, shape, values)


@pytest.mark.parametrize(
    "examples",
    [
        np.zeros(2),
        np.zeros(2, np.int64),
        [np.zeros(2), np.zeros(2)],
        np.float64(1.5),
        [np.float64(1.5)],
        [1.5, np.float64(1.5)],
        [[1.5], np.zeros(1)],
        [1, np.int64(2**24 + 1)],
        True,
        [1.5, True],
        "seven.png",
        None,
        np.array([b"file"], object),
    ],
    ids=[
        "float64",
        "int64",
        "list of float64",
        "a float64",
        "a float64 in a list",
        "a float64 after a float",
        "float64 after a list",
        "an int64 after an int",
        "bool",
        "a bool after a float",
        "str",
        "None",
        "objects",
    ],
)
def test_what_the_protocol_does_not_carry_is_a_type_error_that_says_what_it_does(examples: Any) -> None:
    with pytest.raises(TypeError, match=r"dtype .*; accepted: float32, float16, uint8.*PNG or JPEG"):
        tensor(examples)


def test_lists_whose_parts_differ_in_length_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="inhomogeneous"):
        tensor([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("files", [b"png", bytearray(b"png"), [b"png"], (b"png",)], ids=type)
def test_bytes_are_pictures(files: Any) -> None:
    request = predict_request(files, model="m", version="2", top_k=3)

    assert list(request.images.encoded) == [b"png"]
    assert (request.model, request.version, request.top_k) == ("m", "2", 3)


@pytest.mark.parametrize("top_k", [-1, 2**32])
def test_a_number_of_labels_that_the_protocol_does_not_carry_is_refused_by_its_name(top_k: int) -> None:
    with pytest.raises(ValueError, match=rf"^top_k: {top_k}; accepted: 0 to 4294967295$"):
        predict_request(1.0, model="m", version="", top_k=top_k)
    assert predict_request(1.0, model="m", version="", top_k=2**32 - 1).top_k == 2**32 - 1
