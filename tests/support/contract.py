"""Reads the contract cases: what goes in, and the rows or the refusal that must come out."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent.parent / "contract"
_STORED = {
    "FP32": "<f4", "FP16": "<f2", "INT8": "i1", "UINT8": "u1", "INT16": "<i2", "UINT16": "<u2",
}  # fmt: skip

Case = dict[str, Any]


@cache
def signature_document(name: str) -> bytes:
    """A signature.json of signatures.json, as an archive would hold it."""
    documents = json.loads((FOLDER / "signatures.json").read_bytes())
    return json.dumps(documents[name], sort_keys=True, indent=2).encode()


def cases(file_name: str) -> list[Case]:
    """All cases of one file of tests/contract."""
    found: list[Case] = json.loads((FOLDER / file_name).read_bytes())
    return found


def encode(values: npt.ArrayLike, datatype: str) -> bytes:
    """Numbers as little-endian bytes of an OIP datatype. BF16 cuts an FP32 to its upper half."""
    if datatype == "BF16":
        return (np.asarray(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.asarray(values).astype(_STORED[datatype]).tobytes()


def content_of(case: Case) -> bytes:
    """The bytes that a caller sends in a case of decoding.json."""
    content = case["content"]
    if "hex" in content:
        return bytes.fromhex(content["hex"])
    if "fill" in content:
        return encode([content["fill"]] * content["count"], case["datatype"])
    return encode(content["values"], case["datatype"])


def rows_of(case: Case) -> npt.NDArray[np.float32]:
    """The rows [n, elements] FP32 that a case of decoding.json expects."""
    rows = case["rows"]
    if isinstance(rows, dict):
        return np.full(rows["shape"], rows["fill"], np.float32)
    return np.array(rows, np.float32)


def framed_bytes(words: str) -> bytes:
    """Bytes as framing.json writes them: groups of hex, each perhaps repeated (`AA*257`)."""
    groups = (group.partition("*") for group in words.split())
    return b"".join(bytes.fromhex(digits) * int(times or 1) for digits, _, times in groups)
