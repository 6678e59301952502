"""How many threads would compute at once, against the cores that this container or machine has."""

from __future__ import annotations

from collections.abc import Iterator

from seqserve.doctor.finding import Finding, or_ok, warning
from seqserve.engine_setup import compute_slots
from seqserve.settings import Settings

CHECK = "threads"


def check_threads(
    settings: Settings, cores: int, *, workers: int, is_embedded: bool, with_torchserve: bool
) -> list[Finding]:
    """workers: of all versions in TorchServe. with_torchserve: whether the gateway runs one."""
    findings: list[Finding] = []
    told: list[str] = []
    if is_embedded:
        findings += _of_the_engine(settings, cores)
        told.append(f"the engine computes {_slots(settings)} x {settings.intra_op_threads}")
    if with_torchserve:
        findings += _of_torchserve(settings, cores)
        told.append(f"TorchServe has workers {workers} x {settings.intra_op_threads}")
    return or_ok(findings, CHECK, "; ".join([f"cores {cores}", *told]))


def _slots(settings: Settings) -> int:
    return compute_slots(settings, settings.device)


def _of_the_engine(settings: Settings, cores: int) -> Iterator[Finding]:
    slots, threads = _slots(settings), settings.intra_op_threads
    if slots * threads > cores and not settings.device.startswith("cuda"):
        found = f"compute_slots {slots} x intra_op_threads {threads} are {slots * threads}, cores {cores}"
        yield warning(CHECK, found, "Set --compute-slots 0, and --intra-op-threads to the cores at most.")


def _of_torchserve(settings: Settings, cores: int) -> Iterator[Finding]:
    """One model's workers share each of its batches, so they compute at once; models need not."""
    workers, threads = settings.torchserve_workers, settings.intra_op_threads
    if workers * threads > cores:
        together = f"{workers} x intra_op_threads {threads} are {workers * threads}"
        found = f"torchserve_workers {together}, cores {cores}"
        if threads > cores:
            yield warning(CHECK, found, f"Set --intra-op-threads to {cores} at most.")
        else:
            yield warning(CHECK, found, f"Set --torchserve-workers to {cores // threads} at most.")
