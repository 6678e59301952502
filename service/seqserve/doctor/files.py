"""Whether as many files may be open as the ports take connections."""

from __future__ import annotations

from seqserve.doctor.finding import Finding, ok, warning
from seqserve.open_files import needed_files, suffices
from seqserve.settings import Settings

CHECK = "files"


def check_files(settings: Settings, allowed: int) -> list[Finding]:
    """allowed: the hard limit, which `serve` raises its own to; -1 for none."""
    needed = needed_files(settings)
    found = f"open files allowed {'without limit' if allowed < 0 else allowed}, all connections need {needed}"
    if suffices(allowed, needed):
        return [ok(CHECK, found)]
    advice = (
        "Raise the hard limit (ulimit -Hn, LimitNOFILE=), "
        "or lower --max-grpc-connections and --max-http-connections."
    )
    return [warning(CHECK, found, advice)]
