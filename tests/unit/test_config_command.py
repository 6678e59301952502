"""`seqserve config`: what would hold, where it comes from, and that it can be given back."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from seqserve.settings_reading import read_settings
from support.command import Ended, seqserve

FILE = """
grpc_port = 3003
[models.digit_mlp]
labels = { stable = 3 }
weights = { stable = 9, 4 = 1 }
"""


NUMBERS = st.integers(1024, 10**6)
SECONDS = st.floats(0, 86400, allow_subnormal=False)
SHARES = st.dictionaries(st.integers(1, 10**17).map(str), st.integers(0, 10**6)).filter(
    lambda shares: not shares or any(shares.values())
)
SECTION = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(
            st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,20}", fullmatch=True), st.integers(1, 99)
        ),
        "weights": SHARES,
        "version_policy": st.sampled_from(["all", "latest:2", "listed:1,3"]),
        "max_batch_size": st.integers(1, 1000),
        "max_queue_size": NUMBERS,
        "max_queue_delay_seconds": st.just(0.0) | SECONDS,
        "max_batch_seconds": SECONDS.filter(bool),
    },
)
DOCUMENT = st.fixed_dictionaries(
    {},
    optional={
        "host": st.text(min_size=1),
        "grpc_port": st.integers(0, 65535),
        "health_port": st.integers(0, 65535),
        "watch": st.sampled_from(["auto", "poll", "off"]),
        "allow_tf32": st.booleans(),
        "max_queue_size": NUMBERS,
        "max_queue_delay_seconds": SECONDS,
        "models": st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), SECTION, max_size=3),
    },
)


pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "seqserve.toml"
    path.write_text(FILE)
    return path


def config(*arguments: str) -> Ended:
    ended = seqserve("config", *arguments)
    assert ended.status == 0, ended.errors
    return ended


def test_every_value_says_where_it_comes_from(file: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEQSERVE_HTTP_PORT", "3004")
    lines = config("--config", str(file), "--host", "0.0.0.0").output.splitlines()

    assert "grpc_port = 3003  # seqserve.toml" in lines
    assert "http_port = 3004  # environment" in lines
    assert 'host = "0.0.0.0"  # flag' in lines
    assert "drain_pause_seconds = 1.0  # default" in lines
    assert "# health_port is not set  # default" in lines


def test_what_it_shows_has_the_same_effect_when_it_is_given_back(file: Path, tmp_path: Path) -> None:
    shown = tmp_path / "shown.toml"
    shown.write_text(config("--config", str(file), "--admin-port", "0", "--allow-tf32").output)

    assert tomllib.loads(shown.read_text())["models"]["digit_mlp"]["labels"] == {"stable": "3"}
    flags = {"admin_port": "0", "allow_tf32": True}
    assert read_settings({}, shown).model_dump() == read_settings(flags, file).model_dump()


def test_a_models_zeros_are_shown(file: Path) -> None:
    file.write_text("max_queue_delay_seconds = 0.1\n[models.a]\nmax_queue_delay_seconds = 0.0\n[models.b]\n")

    assert tomllib.loads(config("--config", str(file)).output)["models"] == {
        "a": {"max_queue_delay_seconds": 0.0}, "b": {},
    }  # fmt: skip


@effort(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=DOCUMENT)
def test_whatever_is_set_comes_back_equal(file: Path, document: dict[str, object]) -> None:
    file.write_bytes(tomli_w.dumps(document).encode())
    shown = file.with_name("shown.toml")
    shown.write_bytes(config("--config", str(file)).output.encode())

    assert read_settings({}, shown).model_dump() == read_settings({}, file).model_dump()


def test_credentials_are_masked() -> None:
    shown = config("--otlp-endpoint", "http://somebody:secret@collector:4317").output

    assert "secret" not in shown
    assert 'otlp_endpoint = "http://***@collector:4317"' in shown


def test_the_hashes_of_tokens_are_masked(file: Path) -> None:
    file.write_text(
        f'[clients.phone]\ntoken_sha256 = ["{"a" * 64}", "{"b" * 64}"]\nmax_concurrent_requests = 3\n'
    )
    shown = config("--config", str(file)).output

    assert "aaaa" not in shown
    assert "bbbb" not in shown
    assert tomllib.loads(shown)["clients"]["phone"] == {
        "token_sha256": ["***", "***"], "scopes": ["inference"], "max_concurrent_requests": 3,
    }  # fmt: skip
    assert "# clients: seqserve.toml" in shown


def test_hashes_from_the_environment_are_masked_too(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEQSERVE_CLIENTS", json.dumps({"phone": {"token_sha256": ["a" * 64]}}))
    shown = config().output

    assert "aaaa" not in shown
    assert "# clients: environment" in shown


def test_a_misspelt_variable_is_told(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEQSERVE_GRPC_PROT", "1")

    assert "SEQSERVE_GRPC_PROT is in the environment, and no setting has that name" in config().errors


def test_all_faults_are_told_at_once_and_nothing_is_shown(file: Path) -> None:
    file.write_text("grpc_port = 70000\nwatch = 'often'\n[models.a]\nversion_policy = 'some'\n")
    ended = seqserve("config", "--config", str(file))

    assert (ended.status, ended.output) == (2, "")
    for field in ("grpc_port", "watch", "models.a.version_policy"):
        assert field in ended.errors
