"""`seqserve tokens new`: a token that is shown once, and the section that lets its client in."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w

from seqserve.client_settings import MOST_TOKENS
from seqserve.settings_reading import read_settings
from support.access import client_settings, hash_of
from support.command import seqserve

pytestmark = pytest.mark.usefixtures("environment")


def test_the_token_goes_to_one_stream_and_its_section_to_the_other(tmp_path: Path) -> None:
    ended = seqserve("tokens", "new", "phone", "--scope", "admin", "--scope", "metrics")

    assert ended.status == 0
    token = ended.output.removesuffix("\n")
    assert f"{token}\n" == ended.output
    assert token not in ended.errors
    file = tmp_path / "seqserve.toml"
    file.write_text(f"grpc_port = 1\n{ended.errors}{seqserve('tokens', 'new', 'tablet').errors}")
    clients = read_settings({}, file).clients
    assert clients.pop("tablet")
    assert clients == {"phone": client_settings(token, scopes=("admin", "metrics"))}


def test_a_token_is_for_inference_unless_told_otherwise_and_never_the_same() -> None:
    first, second = (seqserve("tokens", "new", "a.b") for _ in range(2))

    assert first.output != second.output
    assert tomllib.loads(first.errors)["clients"]["a.b"]["scopes"] == ["inference"]


def test_with_a_file_the_section_is_the_clients_own_with_one_token_more(tmp_path: Path) -> None:
    file = tmp_path / "seqserve.toml"
    own = {"token_sha256": ["0" * 64], "scopes": ["metrics"], "max_requests_per_second": 5.0}
    file.write_bytes(tomli_w.dumps({"grpc_port": 1, "clients": {"phone": own}}).encode())
    before = file.read_bytes()
    ended = seqserve("tokens", "new", "phone", "--config", str(file))

    shown = tomllib.loads(ended.errors)["clients"]["phone"]
    assert shown == {**own, "token_sha256": ["0" * 64, hash_of(ended.output.strip())]}
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_client_has_so_many_tokens_at_most(tmp_path: Path) -> None:
    file = tmp_path / "seqserve.toml"
    full = [f"{index:064x}" for index in range(MOST_TOKENS)]
    file.write_bytes(tomli_w.dumps({"clients": {"phone": {"token_sha256": full}}}).encode())
    ended = seqserve("tokens", "new", "phone", "--config", str(file))

    assert (ended.status, ended.output) == (2, "")
    assert "the most there may be" in ended.one_line


@pytest.mark.parametrize("arguments", [["a b"], [""], ["a" * 65], ["phone", "--scope", "everything"]])
def test_what_no_section_may_have_is_refused_before_a_token_is_made(arguments: list[str]) -> None:
    ended = seqserve("tokens", "new", *arguments)

    assert (ended.status, ended.output) == (2, "")
    assert ended.one_line
