"""How faults in settings are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqserve.errors import SettingsInvalid
from seqserve.settings_reading import read_settings

HASH = "0" * 64
TOKEN = "ssv_" + "a" * 43


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("grpc_port = 70000", "grpc_port: Input should be less than or equal to 65535; came 70000"),
        (
            'attestation = "bogus"',
            "attestation: Input should be 'auto', 'require', 'warn' or 'off'; came bogus",
        ),
        ("grpc_prot = 1", "grpc_prot: no such setting; did you mean grpc_port?"),
        ("anything_else_entirely = 1", "anything_else_entirely: no such setting"),
        (
            f'[clients.a]\ntoken_sha256 = ["{HASH}"]\nmax_concurent_requests = 2',
            "clients.a.max_concurent_requests: no such setting; did you mean max_concurrent_requests?",
        ),
        (
            "[models.a]\nversion_polcy = 'all'",
            "models.a.version_polcy: no such setting; did you mean version_policy?",
        ),
        (
            f'[clients.a]\ntoken_sha256 = ["{TOKEN}"]',
            "clients.a.token_sha256.0: this is a token; its SHA-256 belongs here, as `seqserve tokens new` prints it",
        ),
        (
            '[clients.a]\ntoken_sha256 = ["12"]',
            "clients.a.token_sha256.0: a SHA-256 has 64 digits, of 0-9 and a-f",
        ),
        (
            f'[clients."a b"]\ntoken_sha256 = ["{HASH}"]',
            "clients.a b: a client's name has letters, digits, `_`, `.`, `-`, at most 64, the first no sign",
        ),
        (f'clients = "{TOKEN}"', "clients: Input should be a valid dictionary"),
        (f"{TOKEN} = 1", "***: no such setting"),
        (f"[clients.{TOKEN}]\ntoken_sha256 = ['{HASH}']", "clients.***: a client's name is no token"),
        (f'[clients.a]\ntoken_sha256 = ["{HASH}"]\n{TOKEN} = 1', "clients.a.***: no such setting"),
    ],
)
def test_the_key_what_is_accepted_and_what_came(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "seqserve.toml"
    file.write_text(text)

    with pytest.raises(SettingsInvalid) as fault:
        read_settings({}, file)

    assert str(fault.value) == told
