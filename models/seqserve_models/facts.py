"""Where a model comes from, for its signature: nothing that differs between two equal builds."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from seqserve_models.evaluate import Evaluation

LIBRARIES = ("numpy", "scikit-learn", "seqserve", "torch", "torch-model-archiver")
# Of a training's settings, those that the signature says elsewhere.
SAID_ELSEWHERE = ("name", "version")


def library_versions() -> dict[str, str]:
    """Of those that decide about an archive's bytes."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def training_facts(
    settings: Mapping[str, Any], train_examples: int, test_examples: int, epochs: int, evaluation: Evaluation
) -> dict[str, Any]:
    """JSON-ready: the training's settings, sizes, the epochs that were run, metrics of what was held out."""
    told = {name: value for name, value in settings.items() if name not in SAID_ELSEWHERE}
    return {
        **{name: value for name, value in told.items() if value is not None},
        "epochs": epochs,
        "train_examples": train_examples,
        "test_examples": test_examples,
        "metrics": {f"test_{name}": value for name, value in evaluation.metrics.items()},
    }
