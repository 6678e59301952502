"""Packs a model with torch-model-archiver, then rewrites the zip so that equal parts give equal bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from seqserve_models.dataset import Values
from seqserve_models.errors import ArchiverFailed
from seqserve_models.interpreter import StepFailed, run_fresh
from seqserve_models.members import Members, read_zip, write_zip
from seqserve_models.signature import json_document

HANDLER = Path(__file__).with_name("handler.py")
MANIFEST = "MAR-INF/MANIFEST.json"
SUMS = "SHA256SUMS"
GOLDEN_EXAMPLES = 8
# What torch-model-archiver's console script does; it need not be on PATH this way.
ARCHIVER = "from model_archiver.model_packaging import generate_model_archive as run; run()"


def archive_members(
    name: str, script: bytes, signature: bytes, golden: bytes, labels: tuple[str, ...]
) -> Members:
    """The files that torch-model-archiver gets, by their names in the archive."""
    members = {
        f"{name}.pt": script,
        HANDLER.name: HANDLER.read_bytes(),
        "signature.json": signature,
        "golden.npz": golden,
    }
    if labels:
        names = {str(index): label for index, label in enumerate(labels)}
        members["index_to_name.json"] = json_document(names)
    return members


def golden_document(inputs: Values, outputs: Values) -> bytes:
    """golden.npz: FP32 `inputs` [k, *example] and `outputs` [k, *output] of the module in Python."""
    target = io.BytesIO()
    np.savez(target, inputs=inputs, outputs=outputs)
    return target.getvalue()


def pack(name: str, version: str, members: Mapping[str, bytes]) -> bytes:
    """A whole archive with its manifest and SHA256SUMS. Raises ArchiverFailed."""
    with tempfile.TemporaryDirectory(prefix="seqserve-archive-") as scratch:
        archived = _run_archiver(Path(scratch), name, version, members)
    manifest = json.loads(archived[MANIFEST])
    # The archiver writes the time of day here.
    del manifest["createdOn"]
    archived[MANIFEST] = json_document(manifest)
    archived[SUMS] = sums_document(archived)
    return write_zip(archived)


def sums_document(members: Mapping[str, bytes]) -> bytes:
    """Lines as `sha256sum --check` reads them, sorted by member."""
    lines = (f"{hashlib.sha256(members[name]).hexdigest()}  {name}\n" for name in sorted(members))
    return "".join(lines).encode()


def _run_archiver(scratch: Path, name: str, version: str, members: Mapping[str, bytes]) -> Members:
    """Run it in folders of its own: it empties `<temporary folder>/<name>` first, whoever works there."""
    files, temporary, output = (scratch / folder for folder in ("files", "temporary", "output"))
    for folder in (files, temporary, output):
        folder.mkdir()
    for member, content in members.items():
        (files / member).write_bytes(content)
    extra = sorted(members.keys() - {f"{name}.pt", HANDLER.name})
    options = {
        "--model-name": name,
        "--version": version,
        "--serialized-file": f"{name}.pt",
        "--handler": HANDLER.name,
        "--extra-files": ",".join(extra),
        "--export-path": str(output),
    }
    arguments = [text for option in options.items() for text in option]
    variables = {"TMPDIR": str(temporary)}
    try:
        run_fresh(["-c", ARCHIVER, *arguments], folder=files, variables=variables)
    except StepFailed as error:
        raise ArchiverFailed(f"torch-model-archiver gave no archive: {error}") from error
    return read_zip((output / f"{name}.mar").read_bytes())
