"""A version as the native hot path has to know it: its signature's rules and its receipt, in plain values."""

from __future__ import annotations

from typing import Any

from seqserve.predictor import PROBABILITY_SUM_TOLERANCE
from seqserve.repository.versions import ReadyVersion
from seqserve.signature import Layout, Signature


def served_arguments(ready: ReadyVersion, max_request_examples: int) -> dict[str, Any]:
    """The keywords of _native.Served."""
    signature = ready.signature
    return {
        "model": ready.name,
        "number": ready.version,
        "input_name": signature.input.name,
        "shapes": [(shape, _is_own_order(layout, signature)) for shape, layout in signature.layouts.items()],
        "minimum": signature.minimum,
        "maximum": signature.maximum,
        "max_examples": max_request_examples,
        "output_name": signature.output.name,
        "output_shape": signature.output.example_shape,
        "receipt": _receipt(ready),
        "sum_tolerance": PROBABILITY_SUM_TOLERANCE if signature.task == "classification" else None,
    }


def _is_own_order(came: Layout, signature: Signature) -> bool:
    """Whether rows that came so lie as the model wants them; see tensors.decode."""
    own = signature.layouts.get(signature.input.example_shape)
    return {came, own} != {"HWC", "CHW"}


def _receipt(ready: ReadyVersion) -> list[tuple[str, str]]:
    """What each reply's parameters say of the version; no hash of an archive that nobody verified."""
    parameters = [("seqserve_engine", ready.engine), ("seqserve_device", ready.device)]
    if ready.archive_sha256:
        parameters.append(("seqserve_archive_sha256", ready.archive_sha256))
    return parameters
