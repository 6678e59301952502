"""Writes docs/metrics.md: `python -m seqserve.metrics.page > docs/metrics.md`, or `make docs`."""

from __future__ import annotations

import sys

from seqserve.metrics.rows import EXAMPLES, SECONDS, MetricRow
from seqserve.metrics.table import GPU, KEPT_VERSIONS, SECTIONS

_HEAD = """\
# Metrics

Written by `make docs` from `service/seqserve/metrics/table.py`; do not edit.

`http://HOST:8000/metrics` serves these in Prometheus' text format. They are the same whichever engine
runs the models. Labels carry only models and versions of the repository, so callers cannot make series;
everything else is `unknown`. When a version leaves the repository its gauges go at once; its counters
and histograms stay until {kept} more versions have left.

Where a request's time goes, in order: `seqserve_decode_seconds`, `seqserve_queue_seconds`,
`seqserve_assembly_seconds`, `seqserve_compute_seconds`, `seqserve_encode_seconds`. Each phase is a
histogram of its own. Assembly and compute are measured once a batch and the others once a request, so a
sum over a label `phase` would mean nothing.

Histograms of seconds have buckets up to {seconds} s, in steps of 1, 2.5 and 5; those of examples are
powers of two up to {examples}.
"""


def page() -> str:
    """The whole page, in Markdown."""
    parts = [_HEAD.format(kept=KEPT_VERSIONS, seconds=f"{SECONDS[-1]:g}", examples=EXAMPLES[-1])]
    for heading, section in SECTIONS.items():
        where = "Served only where the embedded engine runs on one.\n\n" if section is GPU else ""
        parts.append(f"\n## {heading}\n\n{where}" + "\n".join(_entry(row) for row in section))
    return "".join(parts)


def _entry(row: MetricRow) -> str:
    facts = [row.kind, *([row.unit] if row.unit else [])]
    if row.labels:
        facts.append("labels " + ", ".join(f"`{label}`" for label in row.labels))
    return f"### `{row.name}`\n\n{'; '.join(facts)}\n\n{row.meaning}\n\n*What to look for:* {row.look_for}\n"


if __name__ == "__main__":
    sys.stdout.write(page())
