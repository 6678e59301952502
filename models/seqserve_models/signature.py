"""signature.json: what an archived model takes and gives, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from seqserve_models.definition import ModelInterface

SCHEMA_VERSION = 1
PLATFORM = "pytorch_torchscript"


class Tolerance(NamedTuple):
    """Two answers agree when |Δ| ≤ absolute + relative·|expected|."""

    absolute: float
    relative: float


CPU_TOLERANCE = Tolerance(absolute=1e-5, relative=1e-5)
CUDA_TOLERANCE = Tolerance(absolute=1e-4, relative=1e-3)


def signature_document(interface: ModelInterface, version: str, training: Mapping[str, Any]) -> bytes:
    """The signature as JSON with sorted keys. What is done to pictures is said only where it is done."""
    pictures = {"resize": interface.resize, "invert": interface.invert}
    return json_document(
        {
            "schema_version": SCHEMA_VERSION,
            "name": interface.name,
            "version": version,
            "platform": PLATFORM,
            "task": interface.task,
            "input": _tensor(interface.input_name, interface.input_shape),
            "output": _tensor(interface.output_name, interface.output_shape),
            "example_shapes": [
                {"shape": list(example.shape), "layout": example.layout}
                for example in interface.accepted_shapes
            ],
            "minimum": interface.minimum,
            "maximum": interface.maximum,
            "labels": list(interface.labels),
            "max_batch_size": interface.max_batch_size,
            "training": dict(training),
            "tolerance": {"cpu": CPU_TOLERANCE._asdict(), "cuda": CUDA_TOLERANCE._asdict()},
            **{field: True for field, is_done in pictures.items() if is_done},
        }
    )


def json_document(document: Any) -> bytes:
    """JSON as every document of an archive is written."""
    return (json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _tensor(name: str, example_shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": [-1, *example_shape]}
