"""What the Open Inference Protocol asks of a request, whether it came as protobuf or as JSON.

Pure functions over names and numbers; source: Open Inference Protocol v2 and Triton's extensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

from seqserve.errors import InvalidRequest
from seqserve.repository.versions import ModelState
from seqserve.signature import Signature, TensorSpec

TIMEOUT = "timeout"
"""Triton's parameter: microseconds."""
BACKEND = "seqserve"
INDEX_STATES = {
    ModelState.LOADING: "LOADING",
    ModelState.READY: "READY",
    ModelState.STALLED: "UNAVAILABLE",
    ModelState.UNLOADING: "UNLOADING",
    ModelState.UNLOADED: "UNAVAILABLE",
    ModelState.FAILED: "UNAVAILABLE",
}
"""As Triton's model repository extension names them."""

_UNSUPPORTED_PARAMETERS = ("sequence_", "shared_memory_")
_CONFIG_DATATYPES = {"FP32": "TYPE_FP32"}


def check_parameter_names(names: Iterable[str]) -> None:
    """Refuse parameters that would change what a request means; unknown ones are ignored.

    Raises InvalidRequest.
    """
    for name in names:
        if name.startswith(_UNSUPPORTED_PARAMETERS):
            raise InvalidRequest(
                "PARAMETER_NOT_ACCEPTED", field=f"parameters.{name}", came=name,
                accepted="no sequence_* and no shared_memory_* parameters",
            )  # fmt: skip


def timeout_seconds(microseconds: object, remaining: float | None) -> float | None:
    """The tighter of the call's deadline, in seconds, and Triton's `timeout`, None where it is absent.

    What `check_timeout` refuses counts as absent here: the refusal comes with the other checks, so that
    it is counted as they are.
    """
    if not _is_positive_integer(microseconds):
        return remaining
    seconds = microseconds / 1e6
    return seconds if remaining is None else min(seconds, remaining)


def check_timeout(microseconds: object) -> None:
    """Triton's `timeout`, None where it is absent. Raises InvalidRequest."""
    if microseconds is not None and not _is_positive_integer(microseconds):
        raise InvalidRequest(
            "PARAMETER_NOT_ACCEPTED", field=f"parameters.{TIMEOUT}", came=microseconds,
            accepted="a positive number of microseconds",
        )  # fmt: skip


def _is_positive_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def check_input_names(names: Sequence[str], signature: Signature) -> None:
    """Exactly one input, by the signature's name. Raises InvalidRequest."""
    if list(names) != [signature.input.name]:
        raise InvalidRequest(
            "INPUT_NAME", field="inputs", came=list(names) or "no input",
            accepted=f"exactly one input, named {signature.input.name!r}",
        )  # fmt: skip


def check_output_names(names: Sequence[str], signature: Signature) -> None:
    """No output named means all; otherwise the one there is, once. Raises InvalidRequest."""
    if list(names) not in ([], [signature.output.name]):
        raise InvalidRequest(
            "OUTPUT_NAME", field="outputs", came=list(names),
            accepted=f"none, or {signature.output.name!r} once",
        )  # fmt: skip


def model_config(signature: Signature, max_batch_size: int, max_queue_delay_seconds: float) -> dict[str, Any]:
    """Triton's ModelConfig as far as it holds here, in protobuf's JSON form; dims without the batch.

    max_batch_size: as it is set for this model, which may be less than the archive allows.
    """
    return {
        "name": signature.name,
        "platform": signature.platform,
        "backend": BACKEND,
        "version_policy": {"specific": {"versions": [int(signature.version)]}},
        "max_batch_size": max_batch_size,
        "input": [_config_tensor(signature.input)],
        "output": [_config_tensor(signature.output)],
        "dynamic_batching": {"max_queue_delay_microseconds": round(max_queue_delay_seconds * 1e6)},
        "model_transaction_policy": {"decoupled": False},
    }


def _config_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "data_type": _CONFIG_DATATYPES[spec.datatype],
        "dims": list(spec.example_shape),
    }
