"""A model store as its operator sees it: what is in it, whether it is sound, and what may go."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqserve.archive import read_archive, scan_store
from seqserve.errors import ArchiveInvalid
from seqserve.lease import claim, is_served
from seqserve.signature import Signature

# What may lie beside an archive, by what follows `<name>-<version>`. The archive itself is not among them.
COMPANIONS = (".mar.sha256", ".mar.sig", ".checkpoint.pt", ".report.html")
STEM = r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,127})-(?P<version>[1-9][0-9]{0,17})"
ARCHIVE_NAME = re.compile(STEM + r"\.mar")
COMPANION_NAME = re.compile(STEM + f"(?:{'|'.join(map(re.escape, COMPANIONS))})")
# A build writes them in a moment before its archive; what is older belongs to no build that runs.
SECONDS_OF_A_PUBLISH = 60.0


@dataclass(frozen=True)
class StoredArchive:
    """An archive of a store. signature, sha256: empty where it is not sound; `fault` says why."""

    path: Path
    size_bytes: int
    is_served: bool
    signature: Signature | None = None
    sha256: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Pruned:
    """An archive that went, or with `kept_because` one that should have gone and stays."""

    path: Path
    freed_bytes: int = 0
    kept_because: str = ""


def read_store(store: Path) -> Iterator[StoredArchive]:
    """Every archive, read in full. Raises StoreMissing."""
    for path in scan_store(store):
        size, served = path.lstat().st_size, is_served(path)
        try:
            archive = read_archive(path)
        except ArchiveInvalid as error:
            yield StoredArchive(path, size, served, fault=str(error))
        else:
            yield StoredArchive(path, size, served, archive.signature, archive.sha256)


def leftovers(store: Path) -> list[Path]:
    """Hidden partial files, and companions without their archive; no build that runs needs them."""
    return sorted(path for path in store.iterdir() if _is_leftover(path))


def prune(store: Path, *, keep: int, model: str | None = None, is_dry_run: bool = False) -> list[Pruned]:
    """Remove the archives behind the `keep` highest versions of each model, and what lies beside them.

    One that a gateway of this machine serves stays. Leftovers of those models go as well.
    Raises StoreMissing.
    """
    done = [
        _removed(path, is_dry_run=is_dry_run)
        for paths in _versions(store, model).values()
        for path in paths[:-keep]
    ]
    if not is_dry_run:
        for path in leftovers(store):
            named = COMPANION_NAME.fullmatch(path.name)
            if named and model in (None, named["name"]):
                path.unlink(missing_ok=True)
    return done


def _versions(store: Path, model: str | None) -> dict[str, list[Path]]:
    """Archives by model, the highest version last."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in scan_store(store):
        named = ARCHIVE_NAME.fullmatch(path.name)
        if named and model in (None, named["name"]):
            found.setdefault(named["name"], []).append((int(named["version"]), path))
    return {name: [path for _, path in sorted(versions)] for name, versions in found.items()}


def _removed(path: Path, *, is_dry_run: bool) -> Pruned:
    try:
        with claim(path) as reason:
            if reason:
                return Pruned(path, kept_because=reason)
            # The archive goes first: one without its hash would look like a broken one.
            return Pruned(path, _free((path, *_companions(path)), is_dry_run=is_dry_run))
    except OSError as error:
        return Pruned(path, kept_because=error.strerror or str(error))


def _free(paths: Sequence[Path], *, is_dry_run: bool) -> int:
    freed = 0
    for path in paths:
        if path.is_file():
            freed += path.stat().st_size
            if not is_dry_run:
                path.unlink()
    return freed


def _companions(archive: Path) -> list[Path]:
    stem = archive.name.removesuffix(".mar")
    return [archive.with_name(stem + suffix) for suffix in COMPANIONS]


def _is_leftover(path: Path) -> bool:
    named = COMPANION_NAME.fullmatch(path.name)
    is_partial = path.name.startswith(".") and path.name.endswith(".partial")
    is_orphan = named is not None and not path.with_name(f"{named['name']}-{named['version']}.mar").exists()
    return (is_partial or is_orphan) and time.time() - path.lstat().st_mtime > SECONDS_OF_A_PUBLISH
