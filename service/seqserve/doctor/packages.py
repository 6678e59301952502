"""The Python that runs this, and the packages that the settings need."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from seqserve.doctor.finding import Finding, fault, ok, warning

PYTHON, PACKAGES = "python", "packages"
DISTRIBUTION = "seqserve"


def check_python(version: str | None = None, accepted: str | None = None) -> list[Finding]:
    """Whether this Python is one that the package accepts.

    version, accepted: such as `3.11.9` and `==3.11.*`; None: this one's, and what the package declares.
    """
    version = version or platform.python_version()
    accepted = accepted or str(metadata.metadata(DISTRIBUTION)["Requires-Python"])
    if SpecifierSet(accepted).contains(version, prereleases=True):
        return [ok(PYTHON, version)]
    return [fault(PYTHON, f"{version}, and seqserve needs {accepted}", "Make a virtual environment with it.")]


def installed_version(name: str) -> str | None:
    """A package's version, None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_packages(
    extras: Sequence[str],
    requirements: Iterable[str] | None = None,
    version_of: Callable[[str], str | None] = installed_version,
) -> list[Finding]:
    """What the package itself and these extras declare, against what is installed.

    requirements: as pip reads them, with their extras as markers; None: the package's own.
    """
    declared = metadata.requires(DISTRIBUTION) or [] if requirements is None else requirements
    needed = _needed([Requirement(text) for text in declared], extras)
    findings, versions = [], {}
    for one, extra in needed:
        version = version_of(one.name)
        if version is None:
            findings.append(_missing(one, extra))
        elif not one.specifier.contains(version, prereleases=True):
            findings.append(_other(one, version))
        elif extra:  # the others are there wherever pip was used, and would make a long line
            versions[one.name] = version
    good = ", ".join(f"{name} {version}" for name, version in versions.items())
    if good or not findings:
        findings.insert(0, ok(PACKAGES, good or "all that the package itself needs"))
    return findings


def _needed(declared: Iterable[Requirement], extras: Sequence[str]) -> list[tuple[Requirement, str]]:
    """Each requirement that counts, with the extra that asks for it, or "" for the package itself."""
    needed: dict[str, tuple[Requirement, str]] = {}
    for one in declared:
        for extra in ("", *extras):
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                needed.setdefault(one.name, (one, extra))
    return list(needed.values())


def _missing(one: Requirement, extra: str) -> Finding:
    package = f"{DISTRIBUTION}[{extra}]" if extra else DISTRIBUTION
    return fault(PACKAGES, f"{one.name} is not installed", f"Install it: pip install '{package}'.")


def _other(one: Requirement, version: str) -> Finding:
    return warning(
        PACKAGES,
        f"{one.name} is {version}, tried was {one.specifier}",
        f"Install that: pip install '{one.name}{one.specifier}'.",
    )
