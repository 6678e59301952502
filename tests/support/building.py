"""Builds of made-up definitions, and Ctrl-C in the middle of them."""

from __future__ import annotations

from pathlib import Path

from seqserve_models.definition import ModelDefinition
from seqserve_models.plan import BuildPlan, BuildSettings, make_plans
from seqserve_models.progress import EpochReport, SilentProgress
from seqserve_models.target import Target


class InterruptAfter(SilentProgress):
    """Ctrl-C behind an epoch, counted over all models."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self.epochs: list[EpochReport] = []

    def epoch(self, report: EpochReport) -> None:
        self.epochs.append(report)
        if len(self.epochs) == self._epochs:
            raise KeyboardInterrupt


def planned(definition: ModelDefinition, store: Path) -> list[BuildPlan]:
    """What a build of this one would do."""
    return make_plans([Target(definition, definition.name)], BuildSettings(output=store))
