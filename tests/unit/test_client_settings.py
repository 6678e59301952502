"""A client's section: what it may say, and that a fault in it tells nothing of a token."""

from __future__ import annotations

import json
from pathlib import Path
from traceback import format_exception

import pytest

from seqserve.access.tokens import new_token
from seqserve.errors import SettingsInvalid
from seqserve.settings_reading import read_settings
from support.access import client_settings, hash_of

HASH = "a" * 64
TOKEN = new_token()

pytestmark = pytest.mark.usefixtures("environment")


def test_the_environment_may_name_clients(environment: pytest.MonkeyPatch) -> None:
    section = {"token_sha256": [hash_of(TOKEN)], "scopes": ["admin"], "max_concurrent_requests": 2}
    environment.setenv("SEQSERVE_CLIENTS", json.dumps({"phone": section}))

    assert read_settings({}).clients == {
        "phone": client_settings(TOKEN, scopes=("admin",), max_concurrent_requests=2)
    }


def test_clients_of_the_environment_stand_beside_those_of_the_file(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "seqserve.toml"
    file.write_text(f'[clients.tablet]\ntoken_sha256 = ["{HASH}"]')
    environment.setenv("SEQSERVE_CLIENTS", json.dumps({"phone": {"token_sha256": [hash_of(TOKEN)]}}))

    assert read_settings({}, file).clients.keys() == {"phone", "tablet"}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (f'[clients.a]\ntoken_sha256 = ["{TOKEN}"]', "clients.a.token_sha256.0"),
        (f'[clients.a]\ntoken_sha256 = "{TOKEN}"', "clients.a.token_sha256"),
        (f'[clients.a]\ntoken = "{TOKEN}"\ntoken_sha256 = ["{HASH}"]', "clients.a.token: no such setting"),
        (f'[clients.a]\ntoken_sha256 = ["{HASH.upper()}"]', "clients.a.token_sha256.0"),
        ("[clients.a]\ntoken_sha256 = []", "clients.a.token_sha256"),
        ("[clients.a]\n", "clients.a.token_sha256"),
        (f'[clients.a]\ntoken_sha256 = ["{HASH}"]\nscopes = []', "clients.a.scopes"),
        (f'[clients.a]\ntoken_sha256 = ["{HASH}"]\nscopes = ["all"]', "clients.a.scopes.0"),
        (f'[clients.a]\ntoken_sha256 = ["{HASH}"]\nmax_requests_per_second = 0', "clients.a.max_requests"),
        (
            f'[clients.a]\ntoken_sha256 = ["{HASH}"]\nmax_requests_per_second = 1e-300',
            "clients.a.max_requests",
        ),
        (f'[clients.a]\ntoken_sha256 = ["{HASH}"]\nmax_requests_per_second = inf', "clients.a.max_requests"),
        (f'[clients."a b"]\ntoken_sha256 = ["{HASH}"]', "clients.a b"),
        (
            f'[clients.a]\ntoken_sha256 = ["{HASH}"]\n[clients.b]\ntoken_sha256 = ["{HASH}"]',
            "clients: a and b have the same token",
        ),
    ],
)
def test_a_fault_names_client_and_field_and_no_token(tmp_path: Path, section: str, words: str) -> None:
    file = tmp_path / "seqserve.toml"
    file.write_text(section)
    with pytest.raises(SettingsInvalid) as fault:
        read_settings({}, file)

    assert words in str(fault.value)
    for secret in (TOKEN, TOKEN[:20], HASH):  # nor in the traceback that --debug shows
        assert secret not in "".join(format_exception(fault.value))


def test_a_variable_that_is_no_json_is_refused_without_being_quoted(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEQSERVE_CLIENTS", f"phone={TOKEN}")
    with pytest.raises(SettingsInvalid, match=r"^clients: SEQSERVE_CLIENTS is no JSON$") as fault:
        read_settings({})

    assert TOKEN not in str(fault.value)
