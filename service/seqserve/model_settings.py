"""One model's own section in the settings: `[models.<name>]`.

Labels, weights and the version policy follow the file while the gateway runs; the others count for
versions that are loaded from then on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails

from seqserve.repository.policy import VersionPolicy
from seqserve.repository.routing import Routing

_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def _as_text(value: object) -> object:
    """TOML writes versions as numbers as well."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _number(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is no version; accepted: a positive decimal number")
    return text


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError(f"{text!r} is no label; accepted: a letter, then letters, digits, _ . -")
    return text


def _policy(text: str) -> str:
    VersionPolicy.parse(text)
    return text


VersionNumber = Annotated[str, BeforeValidator(_as_text), AfterValidator(_number)]
Label = Annotated[str, AfterValidator(_label)]
PolicyText = Annotated[str, AfterValidator(_policy)]
Share = Annotated[int, Field(ge=0, le=1_000_000)]


class ModelSettings(BaseModel):
    """What holds for one model; None: as for all models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: dict[Label, VersionNumber] = Field(
        default_factory=dict, description="Names for versions; `stable` answers who names none."
    )
    weights: dict[str, Share] = Field(
        default_factory=dict, description="Shares of a canary, by version or label; they beat `stable`."
    )
    version_policy: PolicyText | None = Field(None, description="all, latest:N or listed:1,3.")
    max_batch_size: int | None = Field(None, ge=1, description="At most the archive's own.")
    max_queue_size: int | None = Field(None, ge=1, description="Examples that may wait, for each version.")
    max_queue_delay_seconds: float | None = Field(
        None, ge=0, le=86400, description="How long an idle engine waits for a fuller batch."
    )
    max_batch_seconds: float | None = Field(
        None, gt=0, le=86400, description="A batch that takes longer makes the version not ready."
    )

    @field_validator("weights")
    @classmethod
    def _weights_name_versions(cls, weights: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        if faults := list(_faults_of_weights(weights, info.data.get("labels"))):
            raise ValueError("; ".join(faults))
        return weights

    @property
    def routing(self) -> Routing:
        """Labels, and weights by version number."""
        weights = {self.labels.get(name, name): share for name, share in self.weights.items()}
        return Routing(labels=self.labels, weights=weights)


def _faults_of_weights(weights: Mapping[str, int], labels: Mapping[str, str] | None) -> Iterator[str]:
    """What makes no sense about them. labels: None where they have a fault of their own."""
    if labels is not None:
        for name in weights:
            if name not in labels and not _NUMBER.fullmatch(name):
                yield f"{name!r} is neither a version nor one of the labels {sorted(labels)}"
        versions = [labels.get(name, name) for name in weights]
        if len(set(versions)) != len(versions):
            yield f"two of {sorted(weights)} mean the same version"
    if weights and not any(weights.values()):
        yield "all of them are 0, so nobody would answer"


def room_fault(max_queue_size: int, max_request_examples: int | None) -> str | None:
    """What is wrong with a queue that the largest request does not fit into.

    max_request_examples: None where it has a fault of its own.
    """
    if max_request_examples is None or max_queue_size >= max_request_examples:
        return None
    return (
        f"{max_queue_size} is less than max_request_examples, {max_request_examples}; "
        "such requests could never be taken"
    )


def _with_room(value: Any, section: ValidatorFunctionWrapHandler, info: ValidationInfo) -> ModelSettings:
    """A section whose queue takes the largest request that the settings around it allow.

    Both are known only here, around the section; its own faults are raised again, so as to stand beside.
    """
    own, size, faults = ModelSettings(), None, list[InitErrorDetails]()
    try:
        own = section(value)
        size = own.max_queue_size
    except ValidationError as error:
        faults = [_again(fault) for fault in error.errors()]
        if ("max_queue_size",) not in [fault["loc"] for fault in faults] and isinstance(value, Mapping):
            size = value.get("max_queue_size")
    if isinstance(size, int) and (words := room_fault(size, info.data.get("max_request_examples"))):
        context = {"error": ValueError(words)}
        faults.append(InitErrorDetails(type="value_error", loc=("max_queue_size",), input=size, ctx=context))
    if faults:
        raise ValidationError.from_exception_data("ModelSettings", faults)
    return own


def _again(fault: ErrorDetails) -> InitErrorDetails:
    return InitErrorDetails(
        type=fault["type"], loc=fault["loc"], input=fault["input"], ctx=fault.get("ctx", {})
    )


ModelSection = Annotated[ModelSettings, WrapValidator(_with_room)]
"""In the settings, after `max_request_examples`: pydantic tells a validator of what came before."""
