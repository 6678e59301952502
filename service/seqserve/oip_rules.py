"""What the Open Inference Protocol asks of a request, whether it came as protobuf or as JSON.

Pure functions over names and numbers; source: Open Inference Protocol v2 and Triton's extensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeGuard

from seqserve.errors import InvalidRequest
from seqserve.signature import Signature

TIMEOUT = "timeout"
"""Triton's parameter: microseconds."""
MAX_TIMEOUT = 2**63 - 1
_UNSUPPORTED_PARAMETERS = ("sequence_", "shared_memory_")


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
    if not _is_timeout(microseconds):
        return remaining
    seconds = microseconds / 1e6
    return seconds if remaining is None else min(seconds, remaining)


def check_timeout(microseconds: object) -> None:
    """Triton's `timeout`, None where it is absent. Raises InvalidRequest."""
    if microseconds is not None and not _is_timeout(microseconds):
        raise InvalidRequest(
            "PARAMETER_NOT_ACCEPTED", field=f"parameters.{TIMEOUT}", came=microseconds,
            accepted="a positive number of microseconds, of 64 bits",
        )  # fmt: skip


def _is_timeout(value: object) -> TypeGuard[int]:
    """Bounded, since an integer of hundreds of digits is no float."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_TIMEOUT


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


def check_load_parameters(names: Iterable[str]) -> None:
    """Triton's Load takes files and configurations; ours takes none. Raises InvalidRequest."""
    given = sorted(names)
    if given:
        raise InvalidRequest(
            "PARAMETER_NOT_ACCEPTED", field="parameters", came=", ".join(given),
            accepted="no parameters; the store is the only source of models",
        )  # fmt: skip
