"""The whole story of a model: data set → train → evaluate → export → verify → archive → store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqserve_models.archive import archive_members, golden_document, pack
from seqserve_models.datasets import DigitSet, load_digit_set, to_values
from seqserve_models.evaluate import Evaluation, evaluate, infer
from seqserve_models.export import export
from seqserve_models.facts import training_facts
from seqserve_models.plan import BuildPlan, make_plan
from seqserve_models.progress import Progress, SilentProgress
from seqserve_models.signature import signature_document
from seqserve_models.store import publish
from seqserve_models.threads import fixed_threads
from seqserve_models.train import train
from seqserve_models.verify import verify
from seqserve_models.zoo import find_model

GOLDEN_EXAMPLES = 8
SILENT = SilentProgress()


@dataclass(frozen=True, eq=False)
class BuildResult:
    """One archive that was built.

    sha256: of the archive, in hex. accuracy: share of held-out images answered right by the module;
    confusion: int64 [true class, answered class], counts of the same images.
    max_delta: largest |Δ| between TorchScript and the module there. seconds: of this model's build.
    """

    name: str
    version: str
    path: Path
    sha256: str
    dataset: str
    train_examples: int
    test_examples: int
    epochs: int
    seed: int
    accuracy: float
    confusion: npt.NDArray[np.int64]
    max_delta: float
    seconds: float


def build(
    names: Sequence[str],
    *,
    output: Path,
    dataset: str | None = None,
    data_dir: Path | None = None,
    seed: int = 0,
    epochs: int | None = None,
    version: str | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> tuple[BuildResult, ...]:
    """Build models of the zoo, each once, one after the other, into the model store `output`.

    dataset, epochs: None takes the model's own. version: None takes the next number.
    data_dir: folder of MNIST's IDX files. device: where to train, `cpu`, `cuda` or `cuda:N`; on the
    CPU the same seed and version give the same bytes. All settings are checked before any training.
    Raises BuildError; a build that fails or is interrupted leaves no archive of that model.
    """
    definitions = [find_model(name) for name in dict.fromkeys(names)]
    plans = [
        make_plan(
            definition,
            output=output,
            dataset=dataset,
            data_dir=data_dir,
            seed=seed,
            epochs=epochs,
            version=version,
            device=device,
        )
        for definition in definitions
    ]
    return tuple(run_plan(plan, progress) for plan in plans)


@dataclass(frozen=True, eq=False)
class Trained:
    """A module that was proven: its TorchScript, how well it does, and its golden.npz."""

    script: bytes
    evaluation: Evaluation
    max_delta: float
    golden: bytes


def run_plan(plan: BuildPlan, progress: Progress = SILENT) -> BuildResult:
    """Build one model. Raises BuildError; then the store is as it was."""
    started = time.monotonic()
    name, version = plan.definition.name, plan.version
    progress.step(f"{name} {version}: reading {plan.dataset}")
    digits = load_digit_set(plan.dataset, data_dir=plan.data_dir, seed=plan.seed)
    with fixed_threads():
        trained = train_and_prove(plan, digits, progress)
    facts = training_facts(plan, digits, trained.evaluation)
    signature = signature_document(plan.definition, version, facts)
    members = archive_members(name, trained.script, signature, trained.golden, plan.definition.labels)
    path, sha256 = publish(pack(name, version, members), plan.output, name, version)
    progress.step(f"wrote {path}")
    return BuildResult(
        name=name,
        version=version,
        path=path,
        sha256=sha256,
        dataset=plan.dataset,
        train_examples=len(digits.train_images),
        test_examples=len(digits.test_images),
        epochs=plan.recipe.epochs,
        seed=plan.seed,
        accuracy=trained.evaluation.accuracy,
        confusion=trained.evaluation.confusion,
        max_delta=trained.max_delta,
        seconds=time.monotonic() - started,
    )


def train_and_prove(plan: BuildPlan, digits: DigitSet, progress: Progress) -> Trained:
    """Train, evaluate, export, and compare the export with the module on every held-out image."""
    definition = plan.definition
    progress.step(f"training on {len(digits.train_images)} images for {plan.recipe.epochs} epochs")
    module = train(definition, digits, plan.recipe, seed=plan.seed, device=plan.device, progress=progress)
    inputs = to_values(digits.test_images).reshape(-1, *definition.input_shape)
    outputs = infer(module, inputs, batch_size=definition.max_batch_size)
    evaluation = evaluate(outputs, digits.test_labels)
    progress.step(f"accuracy {evaluation.accuracy:.2%} on {len(inputs)} held-out images")
    script = export(module, definition.name)
    max_delta = verify(script, definition, inputs, outputs)
    progress.step(f"TorchScript agrees with the module; largest difference {max_delta:.2g}")
    golden_inputs = inputs[:GOLDEN_EXAMPLES]
    golden = golden_document(golden_inputs, infer(module, golden_inputs, batch_size=GOLDEN_EXAMPLES))
    return Trained(script, evaluation, max_delta, golden)
