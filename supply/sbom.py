"""`make sbom`: what a release installs, as CycloneDX 1.6 JSON.

Everything comes from pyproject.toml, the lock and torch's pin, so the same commit gives the same bytes on any
machine: no date, and a serial number that is made of the rest.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supply.pins import NAME, Pin, closure, pin_of, read_pins, requirements_of

ROOT = Path(__file__).parents[1]
EXTRAS = "seqserve:extras"
"""The property that names, for each component, who gets it: `base`, or the extras that add it."""
BASE = "base"
SERIALS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:seqserve:sbom")
NORMALIZED = re.compile(r"[-_.]+")

Json = dict[str, Any]


def sbom(project: Mapping[str, Any], locked: Mapping[str, Pin], torch: Pin) -> Json:
    """The document. project: pyproject.toml's table of that name."""
    pins = {**locked, torch.name: torch}
    roots = roots_of(project)
    members = {extra: closure(names, pins) for extra, names in roots.items()}
    components = [_component(pins[name], _extras_of(name, members)) for name in sorted(pins)]
    needs = requirements_of(pins)
    direct = sorted({name for names in roots.values() for name in names if name in pins})
    document: Json = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _own_component(project)},
        "components": components,
        "dependencies": [
            {"ref": purl(project["name"], project["version"]), "dependsOn": _refs(direct, pins)},
            *({"ref": _ref(pins[name]), "dependsOn": _refs(needs[name], pins)} for name in sorted(pins)),
        ],
    }
    return {**document, "serialNumber": uuid.uuid5(SERIALS, to_text(document)).urn}


def roots_of(project: Mapping[str, Any]) -> dict[str, list[str]]:
    """What seqserve itself names, without extras and with each, normalized."""
    named = {BASE: project["dependencies"], **project["optional-dependencies"]}
    return {extra: [_name_of(requirement) for requirement in given] for extra, given in named.items()}


def to_text(document: Mapping[str, Any]) -> str:
    """Always the same for the same document."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def purl(name: str, version: str) -> str:
    """A package of PyPI (https://github.com/package-url/purl-spec); only + of a version has to be escaped."""
    return f"pkg:pypi/{name}@{version.replace('+', '%2B')}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file that is named."""
    parser = argparse.ArgumentParser(prog="python -m supply.sbom", description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--torch", required=True, help="its pin, like torch==2.13.0; it is in no lock")
    given = parser.parse_args(arguments)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    document = sbom(project, read_pins(ROOT / "requirements.lock"), pin_of(given.torch))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(to_text(document))
    print(f"{given.output}: {len(document['components'])} components")
    return 0


def _name_of(requirement: str) -> str:
    """Of a requirement like `uvicorn[standard]>=0.34`, normalized."""
    found = re.match(NAME, NORMALIZED.sub("-", requirement.lower()))
    if found is None:
        raise ValueError(f"{requirement!r} names no package")
    return found[0]


def _extras_of(name: str, members: Mapping[str, frozenset[str]]) -> str:
    """Of a component in the base, `base` alone: everybody gets it."""
    found = [extra for extra, names in members.items() if name in names]
    return BASE if BASE in found else " ".join(sorted(found))


def _component(pin: Pin, extras: str) -> Json:
    component: Json = {
        "type": "library",
        "bom-ref": _ref(pin),
        "name": pin.name,
        "version": pin.version,
        "purl": _ref(pin),
        "scope": "required" if extras == BASE else "optional",
        "properties": [{"name": EXTRAS, "value": extras}],
    }
    if pin.sha256:
        component["externalReferences"] = [_distributions(pin)]
    return component


def _distributions(pin: Pin) -> Json:
    """A hash for each file of the release: which one pip takes depends on the machine."""
    return {
        "type": "distribution",
        "url": f"https://pypi.org/project/{pin.name}/{pin.version}/",
        "comment": "one hash for each file that may be installed",
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in pin.sha256],
    }


def _own_component(project: Mapping[str, Any]) -> Json:
    return {
        "type": "application",
        "bom-ref": purl(project["name"], project["version"]),
        "name": project["name"],
        "version": project["version"],
        "purl": purl(project["name"], project["version"]),
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
    }


def _refs(names: Sequence[str], pins: Mapping[str, Pin]) -> list[str]:
    return [_ref(pins[name]) for name in names]


def _ref(pin: Pin) -> str:
    return purl(pin.name, pin.version)


if __name__ == "__main__":
    sys.exit(main())
