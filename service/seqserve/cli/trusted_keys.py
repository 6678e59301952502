"""The option that names trusted keys, and how an archive's attestation is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

trusted_keys_option = click.option(
    "--trusted-keys",
    type=click.Path(path_type=Path),
    envvar="SEQSERVE_TRUSTED_KEYS",
    help="Public key, or folder with them: an archive must be attested by one; also SEQSERVE_TRUSTED_KEYS.",
)


def told(attested_by: Sequence[str]) -> str:
    """Words that follow what is said of an archive; none where nobody looked."""
    return f", attested by {' and '.join(attested_by)}" if attested_by else ""
