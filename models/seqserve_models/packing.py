"""One model from its plan to the bytes of its archive: load → fit → evaluate → export → verify → pack."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from seqserve_models.archive import archive_members, pack
from seqserve_models.checkpoint import Checkpoint, weights_sha256
from seqserve_models.dataset import Dataset
from seqserve_models.errors import DatasetBroken, ExportFailed, StoreUnwritable
from seqserve_models.examples import prepare
from seqserve_models.facts import library_versions
from seqserve_models.fit import fit
from seqserve_models.foreign import call
from seqserve_models.plan import BuildPlan
from seqserve_models.progress import Progress
from seqserve_models.prove import Proven, prove
from seqserve_models.report import ReportFacts, render_report
from seqserve_models.signature import signature_document
from seqserve_models.source import searched
from seqserve_models.stopwatch import Stopwatch
from seqserve_models.store import CHECKPOINT, REPORT
from seqserve_models.threads import fixed_threads
from seqserve_models.unfinished import Unfinished

# Of the facts, those that the report shows in places of their own.
SHOWN_ELSEWHERE = ("metrics", "libraries")


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A model that waits to be published: its archive and, by suffix, what lies beside it."""

    proven: Proven
    archive: bytes
    companions: Mapping[str, bytes]
    seconds: float

    @property
    def plan(self) -> BuildPlan:
        """What it was built by."""
        return self.proven.plan

    @property
    def checkpoint(self) -> Checkpoint:
        """Its weights."""
        return self.proven.fitted.checkpoint

    @property
    def sha256(self) -> str:
        """Of the archive, in hex."""
        return hashlib.sha256(self.archive).hexdigest()


def pack_model(plan: BuildPlan, base: Checkpoint | None, progress: Progress) -> PackedModel:
    """Build one model in memory; base: the trained weights of a derived one. Raises BuildError."""
    watch = Stopwatch()
    with searched(plan.source.folders if plan.source else ()), fixed_threads():
        progress.step(f"{plan.definition.name} {plan.version}: reading {plan.dataset}")
        with watch.step("data set"):
            train, test = prepare(plan.definition, _load(plan, progress))
        progress.step(f"training on {len(train)} examples for {_epochs(plan)}")
        with watch.step("training"):
            fitted = fit(plan, base, train, test, progress)
        with _guarded(fitted.unfinished):
            with watch.step("export and verification"):
                proven = prove(plan, fitted, len(train), test, progress)
            with watch.step("archive"):
                archive, checkpoint = _pack(proven), fitted.checkpoint.document()
            report = render_report(_report_facts(proven, archive, checkpoint, watch.seconds))
    companions = {CHECKPOINT: checkpoint, REPORT: report}
    return PackedModel(proven, archive, companions, sum(watch.seconds.values()))


@contextmanager
def _guarded(unfinished: Unfinished) -> Iterator[None]:
    """A training that is done is not lost to an accident; an export that differs will differ again."""
    try:
        yield
    except ExportFailed:
        unfinished.drop()
        raise
    except BaseException:
        with suppress(StoreUnwritable):
            unfinished.keep()
        raise


def _load(plan: BuildPlan, progress: Progress) -> Dataset:
    what = f"{plan.definition.name}: load of {plan.dataset!r}"
    dataset = call(what, lambda: plan.recipe.load(plan.data_options(progress)))
    if not isinstance(dataset, Dataset):
        raise DatasetBroken(f"{what} gives an object of class {type(dataset).__name__}, not a Dataset")
    return dataset


def _epochs(plan: BuildPlan) -> str:
    limit = "" if plan.recipe.patience is None else "up to "
    return f"{limit}{plan.recipe.epochs} epoch{'s' if plan.recipe.epochs > 1 else ''}"


def _pack(proven: Proven) -> bytes:
    definition, version = proven.plan.definition, proven.plan.version
    signature = signature_document(definition, version, proven.facts())
    members = archive_members(definition.name, proven.script, signature, proven.golden, definition.labels)
    return pack(definition.name, version, members)


def _report_facts(
    proven: Proven, archive: bytes, checkpoint: bytes, seconds: Mapping[str, float]
) -> ReportFacts:
    plan, script = proven.plan, proven.script
    facts = {name: value for name, value in proven.facts().items() if name not in SHOWN_ELSEWHERE}
    return ReportFacts(
        definition=plan.definition,
        version=plan.version,
        dataset=plan.dataset,
        history=proven.fitted.history,
        layers=plan.layers,
        evaluation=proven.evaluation,
        test_inputs=proven.test.inputs.numpy(),
        test_targets=proven.test.targets.numpy(),
        test_outputs=proven.outputs,
        settings={**facts, "largest difference of the export": f"{proven.max_delta:.2g}"},
        sizes={"archive": len(archive), "TorchScript": len(script), "checkpoint": len(checkpoint)},
        seconds=seconds,
        libraries=library_versions(),
        hashes={
            "archive": hashlib.sha256(archive).hexdigest(),
            "TorchScript": hashlib.sha256(script).hexdigest(),
            "weights": weights_sha256(proven.fitted.checkpoint.state_dict),
        },
    )
