"""Proves that archives load where nothing of what they were made of can be imported."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from seqserve_models import clean_load
from seqserve_models.errors import ExportFailed
from seqserve_models.interpreter import StepFailed, run_fresh
from seqserve_models.source import Source

OWN_PACKAGES = ("seqserve", "seqserve_models")


def load_clean(archives: Sequence[bytes], sources: Iterable[Source | None] = ()) -> None:
    """Load all archives in one process without this project and without the models' own code.

    Raises ExportFailed.
    """
    roots = {source.module_name.partition(".")[0] for source in sources if source}
    hidden = ",".join((*OWN_PACKAGES, *sorted(roots)))
    with tempfile.TemporaryDirectory(prefix="seqserve-clean-") as scratch:
        names = [f"{index}.mar" for index in range(len(archives))]
        for name, archive in zip(names, archives, strict=True):
            Path(scratch, name).write_bytes(archive)
        try:
            run_fresh([clean_load.__file__, hidden, *names], folder=Path(scratch))
        except StepFailed as error:
            raise ExportFailed(
                f"an archive does not load without the code it was made of: {error}"
            ) from error
