"""The model store: whether it is there, its archives verify, and what the settings say of them fits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from seqserve.doctor.contents import SoundArchive, StoreContents
from seqserve.doctor.finding import Finding, fault, ok, or_ok, warning
from seqserve.settings import Settings
from seqserve.store import leftovers

STORE, SECTIONS = "store", "model-sections"


def check_store(contents: StoreContents) -> list[Finding]:
    """Every archive, its hashes and its name, and what lies beside."""
    folder = contents.folder
    if not contents.is_there:
        advice = "Build a model, `seqserve build digit_mlp`, or name the store with --model-store."
        return [fault(STORE, f"there is no model store at {folder.absolute()}", advice)]
    if not contents.is_readable:
        advice = f"Allow it: chmod u+rx {quote(str(folder))}."
        return [fault(STORE, f"{folder} may not be read by this user", advice)]
    names = {signature.name for signature in contents.signatures}
    good = f"{folder}: archives {len(contents.sound)}, models {len(names)}; all hashes agree"
    return [
        ok(STORE, good) if contents.sound else _empty(folder),
        *(_unsound(path, str(error), error.hint) for path, error in contents.unsound),
        *_doubtful(contents),
        *_same_weights(contents),
        *map(_left_over, leftovers(folder)),
    ]


def check_sections(settings: Settings, contents: StoreContents) -> list[Finding]:
    """The settings' sections of models, their labels and weights, against what is in the store."""
    versions: dict[str, set[str]] = defaultdict(set)
    for signature in contents.signatures:
        versions[signature.name].add(signature.version)
    findings = [one for name in settings.models for one in _section(settings, name, versions.get(name))]
    return or_ok(findings, SECTIONS, "all models, labels and weights of the settings are in the store")


def _empty(folder: Path) -> Finding:
    advice = "Build one into it: `seqserve build digit_mlp`."
    return warning(STORE, f"{folder} has no sound archive, so no model will be ready", advice)


def _unsound(path: Path, reason: str, hint: str) -> Finding:
    advice = hint or f"build or copy it again, or take it out of the store: {path}"
    return fault(STORE, reason, f"{advice[:1].upper()}{advice[1:]}.")


def _doubtful(contents: StoreContents) -> Iterator[Finding]:
    for archive in contents.sound:
        if archive.doubt:
            advice = "Attest it, `seqserve attest ARCHIVE --signing-key FILE`, or copy its .sig as well."
            yield warning(STORE, f"{archive.path.name}: {archive.doubt}", advice)


def _same_weights(contents: StoreContents) -> Iterator[Finding]:
    alike: dict[tuple[str, str], list[SoundArchive]] = defaultdict(list)
    for archive in contents.sound:
        alike[archive.signature.name, archive.torchscript_sha256].append(archive)
    for (name, _), archives in alike.items():
        if len(archives) > 1:
            versions = " and ".join(sorted((one.signature.version for one in archives), key=int))
            advice = "Remove one if that is an oversight; `seqserve store list` shows what is served."
            yield warning(STORE, f"versions {versions} of {name} are the same model", advice)


def _left_over(path: Path) -> Finding:
    found = f"{path.name} is left over and belongs to no archive"
    return warning(STORE, found, f"Remove it: rm {quote(str(path))}.")


def _section(settings: Settings, name: str, versions: set[str] | None) -> Iterator[Finding]:
    if versions is None:
        advice = "Correct the name, or put that model into the store."
        yield warning(SECTIONS, f"[models.{name}] is about a model that is not in the store", advice)
        return
    own = settings.of_model(name)
    named = {f"label {label!r}": version for label, version in own.labels.items()}
    named |= {f"weight of {version}": version for version in own.routing.weights}
    for what, version in named.items():
        if version not in versions:
            found = f"{what} of {name}: version {version} is not in the store"
            advice = f"Put {name}-{version}.mar into it, or correct [models.{name}]."
            yield warning(SECTIONS, found, advice)
