"""Copies of an archive under other names: `python -m bench.copies ARCHIVE FOLDER COUNT`."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from seqserve_models.archive import MANIFEST, SUMS, sums_document
from seqserve_models.members import Members, read_zip, write_zip

SIGNATURE = "signature.json"


def write_copies(archive: Path, folder: Path, count: int) -> None:
    """So many, as NAME_1, NAME_2, …, each whole and with its hash beside it."""
    members = read_zip(archive.read_bytes())
    name, version = archive.stem.rsplit("-", 1)
    for number in range(1, count + 1):
        copied = write_zip(_renamed(members, name, f"{name}_{number}"))
        path = folder / f"{name}_{number}-{version}.mar"
        path.write_bytes(copied)
        digest = hashlib.sha256(copied).hexdigest()
        path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")


def _renamed(members: Members, old: str, new: str) -> Members:
    """The same model with another name wherever it stands."""
    manifest, signature = json.loads(members[MANIFEST]), json.loads(members[SIGNATURE])
    manifest["model"] |= {"modelName": new, "serializedFile": f"{new}.pt"}
    signature["name"] = new
    changed = {member: content for member, content in members.items() if member != SUMS}
    changed[f"{new}.pt"] = changed.pop(f"{old}.pt")
    changed[MANIFEST] = json.dumps(manifest).encode()
    changed[SIGNATURE] = json.dumps(signature).encode()
    changed[SUMS] = sums_document(changed)
    return changed


if __name__ == "__main__":
    write_copies(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
