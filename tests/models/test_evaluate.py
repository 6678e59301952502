"""Metrics of what was held out."""

from __future__ import annotations

import numpy as np
import pytest

from seqserve_models.evaluate import evaluate


def test_accuracy_and_confusion_count_every_image() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]], np.float32)
    evaluation = evaluate(probabilities, np.array([0, 0, 1, 0]))
    assert evaluation.metrics == {"accuracy": 0.75}
    assert evaluation.confusion is not None
    assert evaluation.confusion.tolist() == [[2, 1], [0, 1]]
    assert evaluation.headline == "accuracy 75.00%"


def test_errors_of_a_regression_are_in_the_targets_own_unit() -> None:
    outputs, targets = np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [0.0]])
    evaluation = evaluate(outputs.astype(np.float32), targets.astype(np.float32))
    assert evaluation.metrics["mean_absolute_error"] == pytest.approx(1)
    assert evaluation.metrics["root_mean_square_error"] == pytest.approx(3**0.5)
    assert evaluation.confusion is None
    assert evaluation.headline == "mean absolute error 1"
