"""Accuracy and confusion."""

from __future__ import annotations

import numpy as np

from seqserve_models.evaluate import evaluate


def test_accuracy_and_confusion_count_every_image() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]], np.float32)
    evaluation = evaluate(probabilities, np.array([0, 0, 1, 0]))
    assert evaluation.accuracy == 0.75
    assert evaluation.confusion.tolist() == [[2, 1], [0, 1]]
