"""What a look at something brought to light."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    check: what was looked at, one word that stays the same for scripts.
    status: `fault` keeps something from working, `warning` may do so.
    advice: what to do, one sentence; empty where all is well.
    """

    check: str
    status: Status
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", found)


def not_used(check: str, what: str) -> Finding:
    """The settings do not need it, so nobody looked."""
    return Finding(check, "ok", f"not used: {what}")


def warning(check: str, found: str, advice: str) -> Finding:
    """It works, perhaps not for long or not as wished."""
    return Finding(check, "warning", found, advice)


def fault(check: str, found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(check, "fault", found, advice)


def or_ok(findings: Iterable[Finding], check: str, found: str) -> list[Finding]:
    """What was found, or one line that all is well where that is nothing."""
    return list(findings) or [ok(check, found)]
