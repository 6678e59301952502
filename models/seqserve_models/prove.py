"""Evaluates a fitted module, exports it, and proves that the export answers as the module does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seqserve_models.archive import GOLDEN_EXAMPLES, golden_document
from seqserve_models.dataset import Values
from seqserve_models.evaluate import Evaluation, evaluate, infer
from seqserve_models.examples import Examples
from seqserve_models.export import export
from seqserve_models.facts import training_facts
from seqserve_models.fit import Fitted
from seqserve_models.plan import BuildPlan
from seqserve_models.progress import Progress
from seqserve_models.verify import largest_difference, verify


@dataclass(frozen=True, eq=False)
class Proven:
    """A fitted model, what it answers to the examples held out, and TorchScript that answers the same.

    outputs: FP32 [n, *output]. golden: the archive's golden.npz. max_delta: the largest |Δ| between module
    and TorchScript.
    """

    plan: BuildPlan
    fitted: Fitted
    train_examples: int
    test: Examples
    outputs: Values
    evaluation: Evaluation
    script: bytes
    golden: bytes
    max_delta: float

    def facts(self) -> dict[str, Any]:
        """Where the model comes from, as its signature says."""
        epochs, settings = len(self.fitted.history), self.fitted.checkpoint.settings
        return training_facts(settings, self.train_examples, len(self.test), epochs, self.evaluation)


def prove(plan: BuildPlan, fitted: Fitted, train_examples: int, test: Examples, progress: Progress) -> Proven:
    """Compare the export with the module on every example held out. Raises ExportFailed."""
    definition, module = plan.definition, fitted.module
    inputs = test.inputs.reshape(-1, *definition.input_shape).numpy()
    outputs = infer(module, inputs, batch_size=definition.max_batch_size)
    evaluation = evaluate(outputs, test.targets.numpy())
    progress.step(f"{evaluation.headline} on {len(inputs)} held-out examples")
    few = inputs[:GOLDEN_EXAMPLES]
    of_few = infer(module, few, batch_size=GOLDEN_EXAMPLES)
    # Chance in an answer would look as if TorchScript differed.
    largest_difference(of_few, outputs[: len(few)], "two answers of the module to the same examples")
    script = export(module, definition.name, plan.source)
    max_delta = verify(script, definition, inputs, outputs)
    progress.step(f"TorchScript agrees with the module; largest difference {max_delta:.2g}")
    golden = golden_document(few, of_few)
    return Proven(plan, fitted, train_examples, test, outputs, evaluation, script, golden, max_delta)
