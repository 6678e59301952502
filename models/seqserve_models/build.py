"""A run of the build: models one after the other, proven together in a clean process, then published."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from seqserve_models.attestation import companions_for
from seqserve_models.checkpoint import Checkpoint
from seqserve_models.clean_check import load_clean
from seqserve_models.errors import BuildError, ExportFailed, StoreUnwritable
from seqserve_models.evaluate import Evaluation
from seqserve_models.packing import PackedModel, pack_model
from seqserve_models.plan import BuildPlan, BuildSettings, make_plans
from seqserve_models.progress import Progress, SilentProgress
from seqserve_models.reservation import reserve
from seqserve_models.store import publish
from seqserve_models.target import load_definition

SILENT = SilentProgress()


@dataclass(frozen=True, eq=False)
class BuildResult:
    """One archive that was published.

    sha256: of the archive, in hex. epochs: that were run. evaluation: of the module, on the examples held
    out. max_delta: largest |Δ| between TorchScript and the module there. seconds: of this model's build.
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
    evaluation: Evaluation
    max_delta: float
    seconds: float


def build(
    targets: Sequence[str], settings: BuildSettings, progress: Progress = SILENT
) -> tuple[BuildResult, ...]:
    """Build models, each once, one after the other, into the model store.

    targets: models of the zoo, `FILE.py:NAME` or `package.module:NAME`; the last two are run. All settings
    are checked before any training. On the CPU equal settings and versions give equal bytes. A model that
    fails, or whose training is interrupted, is not in the store; those finished before it are.
    Raises BuildError.
    """
    plans = make_plans([load_definition(target) for target in dict.fromkeys(targets)], settings)
    return run_plans(plans, progress)


def run_plans(plans: Sequence[BuildPlan], progress: Progress = SILENT) -> tuple[BuildResult, ...]:
    """Build what is planned. Raises BuildError."""
    packed: dict[str, PackedModel] = {}
    with ExitStack() as reservations:
        reserved = [_reserved(plan, reservations) for plan in plans]
        try:
            for plan in reserved:
                packed[plan.definition.name] = pack_model(plan, _base_of(plan, packed), progress)
        except BaseException:
            # What is finished is worth keeping, whatever has stopped the rest.
            with contextlib.suppress(BuildError):
                publish_all(tuple(packed.values()), progress)
            raise
        return publish_all(tuple(packed.values()), progress)


def publish_all(packed: Sequence[PackedModel], progress: Progress) -> tuple[BuildResult, ...]:
    """Publish what loads in a clean process; one that does not, or is too late, stops no other.

    Raises the first BuildError when the others are published.
    """
    results: list[BuildResult] = []
    faults: list[BuildError] = []
    waiting = list(packed)
    try:
        are_proven = _load_together(packed, progress)
        for model in packed:
            try:
                if not are_proven:
                    load_clean([model.archive], [model.plan.source])
                results.append(_publish(model, progress))
            except BuildError as error:
                faults.append(error)
                _settle(model, error)
            waiting.remove(model)
    except BaseException as error:
        for model in waiting:
            _settle(model, error)
        raise
    if faults:
        raise faults[0]
    return tuple(results)


def _settle(model: PackedModel, error: BaseException) -> None:
    """Keep the training of a model that was not published, unless it would never be."""
    unfinished = model.proven.fitted.unfinished
    if isinstance(error, ExportFailed):
        unfinished.drop()
        return
    with contextlib.suppress(StoreUnwritable):  # the error itself says more
        unfinished.keep()


def _reserved(plan: BuildPlan, reservations: ExitStack) -> BuildPlan:
    reservation = reserve(plan.output, plan.definition.name, plan.version, is_fixed=plan.is_version_fixed)
    reservations.callback(reservation.close)
    return replace(plan, version=reservation.version)


def _base_of(plan: BuildPlan, packed: Mapping[str, PackedModel]) -> Checkpoint | None:
    if plan.needs_base and plan.definition.derivation is not None:
        return packed[plan.definition.derivation.base.name].checkpoint
    return plan.base


def _load_together(packed: Sequence[PackedModel], progress: Progress) -> bool:
    """Whether all archives load in one clean process; where one does not, each is asked alone."""
    if not packed:
        return True
    try:
        load_clean([model.archive for model in packed], [model.plan.source for model in packed])
    except ExportFailed:
        return False
    progress.step(f"archives that load and answer alike in a process without their code: {len(packed)}")
    return True


def _publish(model: PackedModel, progress: Progress) -> BuildResult:
    plan, proven, name = model.plan, model.proven, model.plan.definition.name
    attestation = companions_for(model.archive, name, plan.version, plan.signing_key)
    path = publish(model.archive, plan.output, name, plan.version, {**model.companions, **attestation})
    progress.step(f"wrote {path}")
    return BuildResult(
        name=name,
        version=plan.version,
        path=path,
        sha256=model.sha256,
        dataset=plan.dataset,
        train_examples=proven.train_examples,
        test_examples=len(proven.test),
        epochs=len(proven.fitted.history),
        seed=plan.seed,
        evaluation=proven.evaluation,
        max_delta=proven.max_delta,
        seconds=model.seconds,
    )
