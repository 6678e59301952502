"""From settings to what is trusted, and whether a gateway may start with it."""

from __future__ import annotations

from pathlib import Path

from seqserve.errors import SettingsInvalid
from seqserve.settings import Settings
from seqserve.trust import UNCHECKED, Trust
from seqserve.trusted_keys import read_trusted_keys


def trust_of(settings: Settings) -> Trust:
    """What the settings ask of archives; auto asks for an attestation where there are trusted keys."""
    if settings.trusted_keys is None or settings.attestation == "off":
        return UNCHECKED
    policy = "require" if settings.attestation == "auto" else settings.attestation
    return Trust(policy, settings.trusted_keys)


def trust_with(keys: Path | None) -> Trust:
    """What a command asks that was told of trusted keys, or of none. Raises SettingsInvalid for the keys."""
    if keys is None:
        return UNCHECKED
    read_trusted_keys(keys)
    return Trust("require", keys)


def check_trust(settings: Settings) -> None:
    """Whether what is required can be held. Raises SettingsInvalid, with what to do."""
    trust_of(settings).check_store(settings.model_store)
    check_external(settings)


def check_external(settings: Settings) -> None:
    """Where attestation is required, others' TorchServes must be trusted as such. Raises SettingsInvalid."""
    if trust_of(settings).is_required and settings.torchserve_address and not settings.trust_external:
        raise SettingsInvalid(
            "torchserve_address: attestation is required, and what those TorchServes run is not checked here",
            hint="--trust-external, where who runs them checks it",
        )
