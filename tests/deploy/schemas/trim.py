"""Takes the schema of one version out of a CustomResourceDefinition: README.md beside it says from where.

python trim.py CRD.yaml VERSION [PATH …] > KIND.json

What a PATH such as spec.predictor.sklearn names is left out, and so are descriptions. Whatever is left out is refused
in a manifest, since check.py knows no unknown fields.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]


def trimmed(node: Any) -> Any:
    """The schema without its prose."""
    if isinstance(node, dict):
        return {
            key: trimmed(value)
            for key, value in node.items()
            if not (key == "description" and isinstance(value, str))
        }
    return [trimmed(value) for value in node] if isinstance(node, list) else node


def without(schema: Any, path: list[str]) -> None:
    """Leave out one property. Raises KeyError where there is none."""
    *way, last = path
    for name in way:
        schema = schema["properties"][name]
    del schema["properties"][last]


def main(crd: str, version: str, *paths: str) -> None:
    """Print the schema as JSON."""
    document = yaml.safe_load(Path(crd).read_text())
    [found] = [one for one in document["spec"]["versions"] if one["name"] == version]
    schema = trimmed(found["schema"]["openAPIV3Schema"])
    for path in paths:
        without(schema, path.split("."))
    names = {
        "group": document["spec"]["group"],
        "version": version,
        "kind": document["spec"]["names"]["kind"],
    }
    json.dump(
        {"x-kubernetes-group-version-kind": [names], **schema},
        sys.stdout,
        separators=(",", ":"),
        sort_keys=True,
    )
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
