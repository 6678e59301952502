"""The rules as a resource of the Prometheus operator. `make alerts-manifest` writes it to RULE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

RULES = Path(__file__).parents[1] / "prometheus" / "rules"
RULE = Path(__file__).parent / "components" / "alerts" / "rules.yaml"
HEAD = "# Written by `make alerts-manifest` from deploy/prometheus/rules, which is the place for changes.\n"
LINE_CHARACTERS = 10_000
"""No expression or sentence is broken up."""

Json = dict[str, Any]


class _Written(yaml.SafeDumper):  # type: ignore[misc] # yaml has no types
    """Expressions of several lines stay such, and lists are indented, as in the rules."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - yaml's
        """See yaml.emitter."""
        super().increase_indent(flow, indentless=False)


def _text_node(dumper: _Written, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Written.add_representer(str, _text_node)


def groups() -> Iterator[Json]:
    """Of all files of rules; the operator evaluates groups side by side, as Prometheus does with files."""
    for path in sorted(RULES.glob("*.yml")):
        yield from yaml.safe_load(path.read_text())["groups"]


def manifest() -> Json:
    """The PrometheusRule."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "seqserve",
            "namespace": "seqserve",
            "labels": {"app.kubernetes.io/name": "seqserve"},
        },
        "spec": {"groups": list(groups())},
    }


def text() -> str:
    """The file's content."""
    return HEAD + str(yaml.dump(manifest(), Dumper=_Written, sort_keys=False, width=LINE_CHARACTERS))


if __name__ == "__main__":
    RULE.write_text(text())
