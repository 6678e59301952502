"""Small model archives, made without torch: the TorchScript member is any bytes."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqserve.signature import Signature
from support.contract import signature_document

FloatArray = npt.NDArray[np.float32]
Golden = tuple[FloatArray, FloatArray]  # inputs [k, *example], outputs [k, *output]
Members = Sequence[tuple[str, bytes]]

TORCHSCRIPT = b"not TorchScript, and no test here runs it"


def make_archive(
    folder: Path,
    name: str = "tiny",
    version: str = "1",
    *,
    signature: Signature | None = None,
    golden: Golden | None = None,
    replace: Mapping[str, bytes | None] | None = None,
) -> Path:
    """Write `<name>-<version>.mar` and its sidecar; return the archive's path.

    signature: any model's, renamed to name and version; without it, the contract's tiny_image.
    replace: members to put in place of the usual ones, or None to leave one out; sums are right.
    """
    signature = renamed(signature or Signature.parse(signature_document("tiny_image")), name, version)
    members = members_of(signature, golden or made_up_golden(signature)) | dict(replace or {})
    kept = sorted((member, content) for member, content in members.items() if content is not None)
    return write_archive(folder / f"{name}-{version}.mar", [*kept, ("SHA256SUMS", sums_of(kept))])


def write_archive(path: Path, members: Members) -> Path:
    """Zip members as they are, duplicates and all, and write the right sidecar beside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of duplicates, which some tests want
        for member, content in sorted(members):
            entry = zipfile.ZipInfo(member)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    path.write_bytes(buffer.getvalue())
    write_sidecar(path)
    return path


def write_sidecar(path: Path) -> None:
    """`<path>.sha256` with the hash that the file has now."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")


def renamed(signature: Signature, name: str, version: str) -> Signature:
    """The same signature under another name and version."""
    return signature.model_copy(update={"name": name, "version": version})


def members_of(signature: Signature, golden: Golden) -> dict[str, bytes | None]:
    """Every member of an archive but SHA256SUMS."""
    model = {
        "modelName": signature.name,
        "modelVersion": signature.version,
        "serializedFile": f"{signature.name}.pt",
        "handler": "handler.py",
    }
    manifest = {"runtime": "python", "model": model, "archiverVersion": "0.12.0"}
    members: dict[str, bytes | None] = {
        "MAR-INF/MANIFEST.json": json.dumps(manifest, sort_keys=True, indent=2).encode(),
        f"{signature.name}.pt": TORCHSCRIPT,
        "handler.py": b"# answers inside TorchServe\n",
        "signature.json": signature.model_dump_json(indent=2).encode(),
        "golden.npz": npz(inputs=golden[0], outputs=golden[1]),
    }
    if signature.labels:
        names = {str(index): label for index, label in enumerate(signature.labels)}
        members["index_to_name.json"] = json.dumps(names).encode()
    return members


def sums_of(members: Members) -> bytes:
    """SHA256SUMS for members."""
    lines = (f"{hashlib.sha256(content).hexdigest()}  {member}\n" for member, content in sorted(members))
    return "".join(lines).encode()


def npz(**arrays: npt.NDArray[Any]) -> bytes:
    """An .npz file of arrays; arrays of objects are pickled."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy(array), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def npy(array: npt.NDArray[Any]) -> bytes:
    """A .npy file of one array."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def made_up_golden(signature: Signature) -> Golden:
    """Two rows of halves, and outputs that are even probabilities."""
    outputs = signature.output.example_shape
    return (
        np.full((2, *signature.input.example_shape), 0.5, np.float32),
        np.full((2, *outputs), 1.0 / outputs[-1], np.float32),
    )
