"""`seqserve doctor`: what keeps a gateway from working, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from seqserve.cli.faults import Refused
from seqserve.cli.serve import given_settings, settings_options
from seqserve.cli.tables import print_table
from seqserve.doctor.examination import Check, examination
from seqserve.doctor.finding import Finding, Status
from seqserve.printable import printable
from seqserve.settings_reading import read_settings

STYLES: dict[Status, str] = {"ok": "green", "warning": "yellow", "fault": "bold red"}


@click.command("doctor")
@settings_options
@click.option(
    "--json", "is_json", is_flag=True, help="A list of {check, status, found, advice}, for scripts."
)
def command(config: Path | None, *, is_json: bool, **flags: Any) -> None:
    """Look at all that `serve` would need with these options, environment and file; say what to do.

    Nothing is changed and nothing is left running. The handlers of verified archives are imported, as
    TorchServe would, where the settings run one. Exit 0 without a fault, 1 with one; warnings are no faults.

    \b
    Examples:
      seqserve doctor
      seqserve doctor --with-torchserve --torchserve-folder ./torchserve
      seqserve doctor --config seqserve.toml --json
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    findings = _look(examination(partial(read_settings, given_settings(flags), config)))
    if is_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    if faults := _count(findings, "fault"):
        raise Refused(f"faults: {faults}, warnings: {_count(findings, 'warning')}")


def _look(checks: Sequence[Check]) -> list[Finding]:
    """Make each check, with a line that tells which; it is seen on a terminal only."""
    findings: list[Finding] = []
    with Console(stderr=True).status("") as status:
        for check in checks:
            status.update(f"looking at {check.title}")
            findings += check.findings()
    return findings


def _print(findings: Sequence[Finding]) -> None:
    rows = (
        (finding.check, f"[{STYLES[finding.status]}]{finding.status}[/]", _told(finding))
        for finding in findings
    )
    print_table(("check", "status", "found, and what to do"), rows)


def _told(finding: Finding) -> str:
    lines = [finding.found, f"→ {finding.advice}"] if finding.advice else [finding.found]
    return "\n".join(map(_plain, lines))


def _plain(text: str) -> str:
    """What others named, archives for one, holds no markup and nothing that a terminal would obey."""
    return escape(printable(text))


def _count(findings: Sequence[Finding], status: Status) -> int:
    return sum(finding.status == status for finding in findings)
