"""Where a model comes from, for its signature: nothing that differs between two equal builds."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from seqserve_models.datasets import DigitSet
from seqserve_models.evaluate import Evaluation
from seqserve_models.plan import BuildPlan
from seqserve_models.threads import BUILD_THREADS

LIBRARIES = ("numpy", "scikit-learn", "torch", "torch-model-archiver")


def training_facts(plan: BuildPlan, digits: DigitSet, evaluation: Evaluation) -> dict[str, Any]:
    """JSON-ready: data set, sizes, seed, epochs, metrics, library versions."""
    return {
        "dataset": plan.dataset,
        "train_examples": len(digits.train_images),
        "test_examples": len(digits.test_images),
        "seed": plan.seed,
        "epochs": plan.recipe.epochs,
        "device": plan.device.type,
        "threads": BUILD_THREADS,
        "metrics": {"test_accuracy": evaluation.accuracy},
        "libraries": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }
