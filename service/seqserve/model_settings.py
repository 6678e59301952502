"""One model's own section in the settings: `[models.<name>]`.

Labels, weights and the version policy follow the file while the gateway runs; the others count for
versions that are loaded from then on.
"""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

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

    @model_validator(mode="after")
    def _weights_name_versions(self) -> Self:
        for name in self.weights:
            if name not in self.labels and not _NUMBER.fullmatch(name):
                raise ValueError(
                    f"weights.{name}: neither a version nor one of the labels {sorted(self.labels)}"
                )
        versions = [self.labels.get(name, name) for name in self.weights]
        if len(set(versions)) != len(versions):
            raise ValueError(f"weights: two of {sorted(self.weights)} mean the same version")
        if self.weights and not any(self.weights.values()):
            raise ValueError("weights: all of them are 0, so nobody would answer")
        return self

    @property
    def routing(self) -> Routing:
        """Labels, and weights by version number."""
        weights = {self.labels.get(name, name): share for name, share in self.weights.items()}
        return Routing(labels=self.labels, weights=weights)
