"""Who is trusted to attest archives, and whether others could make themselves trusted or change the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seqserve.doctor.finding import Finding, fault, not_used, or_ok, warning
from seqserve.errors import SettingsInvalid
from seqserve.ownership import first_opening
from seqserve.settings import Settings
from seqserve.trust import Trust
from seqserve.trust_setup import check_external, trust_of
from seqserve.trusted_keys import read_trusted_keys

CHECK = "trust"
PRIVATE = ".key"
"""As `seqserve keys new` names private halves."""


def check_trust(settings: Settings) -> list[Finding]:
    """The trusted keys, who may write them and the store, and what runs beyond our sight."""
    trust = trust_of(settings)
    if trust.policy == "off":
        return [not_used(CHECK, "archives are taken from whoever can write the store")]
    try:
        keys = read_trusted_keys(trust.keys)
    except SettingsInvalid as error:
        return [
            fault(CHECK, str(error), _sentence(error.hint or "Correct it; docs/attestation.md shows how"))
        ]
    findings = [
        *_private_halves(trust.keys),
        *_open_store(trust, settings.model_store),
        *_external(settings),
    ]
    named = ", ".join(f"{key.name} ({key.key_id})" for key in keys.values())
    asked = "must be attested" if trust.is_required else "should be attested"
    return or_ok(findings, CHECK, f"archives {asked} by one of: {named}")


def _private_halves(keys: Path) -> Iterator[Finding]:
    """Those that somebody has copied along with the folder; a gateway does not look at them."""
    for path in sorted(keys.glob(f"*{PRIVATE}")) if keys.is_dir() else ():
        found = f"{path}, by its name a private key, does not belong on a machine that serves"
        yield warning(CHECK, found, "Move it to where you build; a gateway needs public halves alone.")


def _open_store(trust: Trust, store: Path) -> Iterator[Finding]:
    if not store.is_dir():
        return  # the check of the store says so
    if opening := first_opening(store):
        tell = fault if trust.is_required else warning
        yield tell(CHECK, f"{opening.folder} {opening.fault}", _sentence(opening.hint))


def _external(settings: Settings) -> Iterator[Finding]:
    try:
        check_external(settings)
    except SettingsInvalid as error:
        yield fault(CHECK, str(error), _sentence(f"set {error.hint}"))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
