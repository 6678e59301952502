"""The state of a training on its way to an archive, kept in the store where the way is cut short."""

from __future__ import annotations

import copy
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqserve_models.checkpoint import Checkpoint
from seqserve_models.plan import BuildPlan
from seqserve_models.progress import Progress
from seqserve_models.store import drop_unfinished, keep_unfinished
from seqserve_models.train import Training

# A training that is killed loses no more than this, and the epoch that it was in.
SECONDS_BETWEEN_CHECKPOINTS = 10.0


class Unfinished:
    """Follows a training; `keep` after an interrupt or an accident, `drop` where going on has no use."""

    def __init__(self, plan: BuildPlan, settings: Mapping[str, Any], progress: Progress) -> None:
        self._plan, self._settings, self._progress = plan, settings, progress
        self._state: dict[str, Any] | None = None
        self._written_at = time.monotonic()
        self._is_written = False

    def follow(self, training: Training) -> None:
        """An epoch has ended."""
        self._state = copy.deepcopy(training.state())
        self._progress.epoch(training.history[-1])
        if time.monotonic() - self._written_at >= SECONDS_BETWEEN_CHECKPOINTS:
            self._write(self._state)

    def keep(self) -> None:
        """Write the state after the last whole epoch and say how to go on. Raises StoreUnwritable."""
        if self._state is None:
            return
        plan, path = self._plan, self._write(self._state)
        options = {"--output": plan.output, "--from-checkpoint": path, "--data-dir": plan.data_dir}
        told = [f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None]
        device = [] if plan.device.type == "cpu" else [f"--device {plan.device}"]
        command = " ".join(["seqserve build", shlex.quote(plan.named), *told, *device])
        self._progress.step(f"{plan.definition.name} is not finished; to go on: {command}")

    def drop(self) -> None:
        """Forget what this training has written; one that it went on with stays."""
        if self._is_written and self._plan.resumed is None:
            drop_unfinished(self._plan.output, self._plan.definition.name, self._plan.version)

    def _write(self, state: Mapping[str, Any]) -> Path:
        document = Checkpoint(state["module"], self._settings, state).document()
        plan = self._plan
        path = keep_unfinished(document, plan.output, plan.definition.name, plan.version)
        self._written_at, self._is_written = time.monotonic(), True
        return path
