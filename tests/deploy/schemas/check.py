"""Holds custom resources against the schemas beside this file: `python check.py MANIFEST…`.

Prints a line for each; exit status 1 where one does not fit. A field that its schema does not have is a fault, as for
`kubectl apply --validate=strict`. Resources of Kubernetes itself are passed over.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator

IDENTITY = "x-kubernetes-group-version-kind"


def closed(schema: Any) -> Any:
    """The schema, refusing fields that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    is_open = "additionalProperties" in schema or "x-kubernetes-preserve-unknown-fields" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not is_open:
        found["additionalProperties"] = False
    return found


def schemas() -> dict[tuple[str, str], Any]:
    """By apiVersion and kind."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.json")):
        schema = json.loads(path.read_text())
        [names] = schema[IDENTITY]
        found[f"{names['group']}/{names['version']}", names["kind"]] = closed(schema)
    return found


def faults(document: dict[str, Any], schema: Any) -> Iterator[str]:
    """What does not fit, with its place."""
    for error in Draft202012Validator(schema).iter_errors(document):
        yield f"{error.json_path}: {error.message}"


def main(paths: list[str]) -> int:
    """The exit status."""
    known, is_fine = schemas(), True
    for path in paths:
        for document in filter(None, yaml.safe_load_all(Path(path).read_text())):
            schema = known.get((document["apiVersion"], document["kind"]))
            if schema is None:
                continue
            found = list(faults(document, schema))
            is_fine = is_fine and not found
            name = f"{document['kind']}/{document['metadata']['name']}"
            sys.stdout.writelines(f"{name}: {line}\n" for line in found or ["fits"])
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
