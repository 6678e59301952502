"""A model store as its operator sees it: what is in it, whether it is sound, and what may go."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from seqserve.archive import read_archive, scan_store
from seqserve.errors import ArchiveInvalid, ArchiveUntrusted
from seqserve.lease import SERVED, claim, is_held
from seqserve.repository.routing import Routing
from seqserve.signature import Signature
from seqserve.trust import Trust

# What may lie beside an archive, by what follows `<name>-<version>`. The archive itself is not among them.
COMPANIONS = (".mar.sha256", ".mar.sig", ".checkpoint.pt", ".report.html")
STEM = r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,127})-(?P<version>[1-9][0-9]{0,17})"
ARCHIVE_NAME = re.compile(STEM + r"\.mar")
COMPANION_NAME = re.compile(STEM + f"(?:{'|'.join(map(re.escape, COMPANIONS))})")
PINNED = "a label or a weight of the configuration names it"
# A build writes them in a moment before its archive; what is older belongs to no build that runs.
SECONDS_OF_A_PUBLISH = 60.0


@dataclass(frozen=True)
class StoredArchive:
    """An archive of a store. signature, sha256: empty where it is not sound; `fault` says why.

    is_served: None where that cannot be told. attested_by: ids of trusted keys. is_untrusted: nobody trusted
    has attested it, and whether it is sound is not known.
    """

    path: Path
    size_bytes: int
    is_served: bool | None
    signature: Signature | None = None
    sha256: str = ""
    attested_by: tuple[str, ...] = ()
    fault: str = ""
    is_untrusted: bool = False

    @property
    def name_and_version(self) -> tuple[str, str]:
        """By the file's name: all that is known of one that is not sound."""
        named = ARCHIVE_NAME.fullmatch(self.path.name)
        return (named["name"], named["version"]) if named else (self.path.name, "")


@dataclass(frozen=True)
class Pruned:
    """A version that went, or with `kept_because` one that should have gone and stays, at least in part.

    path: of its archive. removed: the files that went, or in a dry run would go.
    """

    path: Path
    removed: tuple[Path, ...] = ()
    freed_bytes: int = 0
    kept_because: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether it stays for another reason than that somebody wants it."""
        return self.kept_because not in ("", SERVED, PINNED)


def read_store(store: Path, trust: Trust) -> Iterator[StoredArchive]:
    """Every archive, read in full. Raises StoreMissing."""
    for path in scan_store(store):
        try:
            size = path.lstat().st_size
        except FileNotFoundError:  # pruned since we looked
            continue
        served = is_held(path)
        try:
            archive = read_archive(path, trust)
        except ArchiveInvalid as error:
            is_untrusted = isinstance(error, ArchiveUntrusted)
            yield StoredArchive(path, size, served, fault=str(error), is_untrusted=is_untrusted)
        else:
            yield StoredArchive(path, size, served, archive.signature, archive.sha256, archive.attested_by)


def leftovers(store: Path) -> list[Path]:
    """Hidden partial files, and companions without their archive; no build that runs needs them."""
    return sorted(path for path in store.iterdir() if _is_leftover(path))


def prune(
    store: Path,
    trust: Trust,
    *,
    keep: int,
    model: str | None = None,
    routing: Mapping[str, Routing] | None = None,
    is_dry_run: bool = False,
) -> list[Pruned]:
    """Remove the archives behind the `keep` highest sound versions of each model, and what lies beside them.

    One that is not sound, or not trusted, counts for nothing, and only goes where enough sound ones are
    above it. One that a gateway of this machine serves stays, and so does one that a label or weight in
    `routing` names. What an interrupted prune left of such versions goes as well; companions of higher
    versions stay, for somebody may want their weights. Raises StoreMissing.
    """
    versions = _versions(store, model)
    lowest_kept = {name: _lowest_kept(found, keep, trust) for name, found in versions.items()}
    orphans = _orphans(store, lowest_kept)
    done = [
        Pruned(path, kept_because=PINNED)
        if _is_pinned(routing, name, number)
        else _prune_archive(path, is_dry_run=is_dry_run)
        for name, found in versions.items()
        for number, path in sorted(found.items())
        if number < lowest_kept[name]
    ]
    return done + [_removed(path, left, is_dry_run=is_dry_run) for path, left in orphans.items()]


def _is_pinned(routing: Mapping[str, Routing] | None, name: str, number: int) -> bool:
    own = (routing or {}).get(name, Routing())
    return str(number) in {*own.labels.values(), *own.weights}


def _versions(store: Path, model: str | None) -> dict[str, dict[int, Path]]:
    """Archives by model and version."""
    found: dict[str, dict[int, Path]] = {}
    for path in scan_store(store):
        named = ARCHIVE_NAME.fullmatch(path.name)
        if named and model in (None, named["name"]):
            found.setdefault(named["name"], {})[int(named["version"])] = path
    return found


def _lowest_kept(versions: Mapping[int, Path], keep: int, trust: Trust) -> int:
    """The `keep`-th highest version that is sound; 0 where there are fewer, so that nothing goes."""
    sound = (number for number in sorted(versions, reverse=True) if _is_sound(versions[number], trust))
    return next(itertools.islice(sound, keep - 1, None), 0)


def _is_sound(path: Path, trust: Trust) -> bool:
    try:
        read_archive(path, trust)
    except ArchiveInvalid:
        return False
    return True


def _orphans(store: Path, lowest_kept: Mapping[str, int]) -> dict[Path, list[Path]]:
    """What is left over of versions below the kept ones, by the path of the archive that went."""
    found: dict[Path, list[Path]] = {}
    for path in leftovers(store):
        named = COMPANION_NAME.fullmatch(path.name)
        if named and int(named["version"]) < lowest_kept.get(named["name"], 0):
            found.setdefault(_archive_of(path, named), []).append(path)
    return found


def _prune_archive(path: Path, *, is_dry_run: bool) -> Pruned:
    try:
        with claim(path) as reason:
            if reason:
                return Pruned(path, kept_because=reason)
            # The archive goes first: who watches the store never sees one without its hash, which would
            # look like a broken one. What an interruption leaves then blocks nobody; the next prune takes it.
            return _removed(path, [path, *_companions(path)], is_dry_run=is_dry_run)
    except OSError as error:
        return Pruned(path, kept_because=_words(error))


def _removed(archive: Path, paths: list[Path], *, is_dry_run: bool) -> Pruned:
    """Remove files in their order, up to the first that cannot be removed."""
    removed: list[Path] = []
    freed_bytes = 0
    for path in paths:
        try:
            size = path.lstat().st_size
            if not is_dry_run:
                path.unlink()
        except FileNotFoundError:  # not every archive has every companion
            continue
        except OSError as error:
            return Pruned(
                archive, tuple(removed), freed_bytes, f"{path.name} cannot be removed: {_words(error)}"
            )
        removed.append(path)
        freed_bytes += size
    return Pruned(archive, tuple(removed), freed_bytes)


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def _companions(archive: Path) -> list[Path]:
    stem = archive.name.removesuffix(".mar")
    return [archive.with_name(stem + suffix) for suffix in COMPANIONS]


def _archive_of(companion: Path, named: re.Match[str]) -> Path:
    return companion.with_name(f"{named['name']}-{named['version']}.mar")


def _is_leftover(path: Path) -> bool:
    named = COMPANION_NAME.fullmatch(path.name)
    is_partial = path.name.startswith(".") and path.name.endswith(".partial")
    is_orphan = named is not None and not os.path.lexists(_archive_of(path, named))
    try:
        return (is_partial or is_orphan) and time.time() - path.lstat().st_mtime > SECONDS_OF_A_PUBLISH
    except FileNotFoundError:  # its build has just renamed it
        return False
