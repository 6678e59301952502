"""Which archives of a model store are measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from seqserve.archive import scan_store
from seqserve.errors import NotFound, SettingsInvalid, quote_came
from seqserve.settings import Settings
from seqserve.store import ARCHIVE_NAME

Versions = dict[str, dict[str, Path]]


def wanted_archives(settings: Settings, targets: Sequence[str]) -> list[Path]:
    """One archive for each target, NAME or NAME/VERSION; without targets one for each model of the store.

    Of a model the highest version that the settings would load.
    Raises StoreMissing, NotFound, and SettingsInvalid for a model that is named twice.
    """
    store = settings.model_store
    versions = _versions(scan_store(store))
    _check_names([target.partition("/")[0] for target in targets], versions, store)
    if targets:
        return [_path_of(settings, target, versions) for target in targets]
    highest = (_highest(settings, name, versions[name]) for name in sorted(versions))
    paths = [path for path in highest if path is not None]
    if not paths:
        raise NotFound(f"{store} has no archives that these settings would load")
    return paths


def _versions(paths: Iterable[Path]) -> Versions:
    found: Versions = {}
    for path in paths:
        if named := ARCHIVE_NAME.fullmatch(path.name):
            found.setdefault(named["name"], {})[named["version"]] = path
    return found


def _check_names(names: Sequence[str], versions: Versions, store: Path) -> None:
    for name in names:
        if name not in versions:
            there = ", ".join(sorted(versions)) or "none"
            raise NotFound(f"there is no model {quote_came(name)!r} in {store}; there are: {there}")
        if names.count(name) > 1:
            raise SettingsInvalid(f"{name} is named more than once; one version of a model is measured")


def _highest(settings: Settings, name: str, versions: dict[str, Path]) -> Path | None:
    chosen = settings.policy_of(name).choose(versions)
    return versions[chosen[-1]] if chosen else None


def _path_of(settings: Settings, target: str, versions: Versions) -> Path:
    name, _, version = target.partition("/")
    there = versions[name]
    path = there.get(version) if version else _highest(settings, name, there)
    if path is None:
        which = f"version {quote_came(version)!r}" if version else "version that these settings would load"
        listed = ", ".join(sorted(there, key=int))
        raise NotFound(f"model {name} has no {which} in {settings.model_store}; there are: {listed}")
    return path
