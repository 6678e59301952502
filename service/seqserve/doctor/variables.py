"""Variables of the environment that look like settings and are none."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from seqserve.doctor.finding import Finding, or_ok, warning
from seqserve.settings import ENV_PREFIX, Settings
from seqserve.settings_reading import unknown_variables

CHECK = "variables"


def check_variables(unknown: Sequence[str] | None = None) -> list[Finding]:
    """A warning for each name that nothing here reads.

    unknown: such names; None: those of the environment.
    """
    names = unknown_variables() if unknown is None else unknown
    return or_ok(map(_misspelt, names), CHECK, f"every {ENV_PREFIX} variable is known")


def _misspelt(name: str) -> Finding:
    near = difflib.get_close_matches(name[len(ENV_PREFIX) :].lower(), Settings.model_fields, n=1)
    advice = "Unset it; `seqserve config` lists the settings."
    if near:
        advice = f"Rename it to {ENV_PREFIX}{near[0].upper()}."
    return warning(CHECK, f"{name} is in the environment, and no setting has that name", advice)
