"""Proves that archives load where nothing of what they were made of can be imported."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from seqserve_models import clean_load
from seqserve_models.errors import ExportFailed
from seqserve_models.interpreter import StepFailed, run_fresh
from seqserve_models.source import Source

NO_MORE_FOLDERS = {"PYTHONPATH": ""}
OWN_PACKAGES = ("seqserve", "seqserve_models")


def load_clean(archives: Sequence[bytes], sources: Iterable[Source | None] = ()) -> None:
    """Load all archives in one process without this project and without the models' own code.

    Raises ExportFailed.
    """
    hidden = ",".join((*OWN_PACKAGES, *sorted({name for one in sources if one for name in _roots(one)})))
    with tempfile.TemporaryDirectory(prefix="seqserve-clean-") as scratch:
        names = [f"{index}.mar" for index in range(len(archives))]
        for name, archive in zip(names, archives, strict=True):
            Path(scratch, name).write_bytes(archive)
        try:
            run_fresh([clean_load.__file__, hidden, *names], folder=Path(scratch), variables=NO_MORE_FOLDERS)
        except StepFailed as error:
            raise ExportFailed(
                f"an archive does not load without the code it was made of: {error}"
            ) from error


def _roots(source: Source) -> Iterator[str]:
    """The modules at the top that were imported from the folders of a model's code."""
    yield source.module_name.partition(".")[0]
    folders = {Path(folder) for folder in source.folders}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and "." not in name and folders & {Path(file).parent, Path(file).parent.parent}:
            yield name
