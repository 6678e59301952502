"""Settings: where a value may come from, who wins, and that every fault is told at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from seqserve.errors import SettingsInvalid
from seqserve.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.upper().startswith("SEQSERVE_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "seqserve.toml"
    path.write_text("grpc_port = 3003\n")
    return path


def refusal(flags: dict[str, str], config: Path | None = None) -> SettingsInvalid:
    with pytest.raises(SettingsInvalid) as refused:
        read_settings(flags, config)
    return refused.value


def test_defaults_serve_the_folder_beside_on_loopback() -> None:
    settings = read_settings({})

    assert settings.model_store == Path("model-store")
    assert (settings.host, settings.grpc_port, settings.http_port) == ("127.0.0.1", 8001, 8000)
    assert (settings.engine, settings.with_torchserve) == ("embedded", False)


def test_the_file_beats_the_default(config: Path) -> None:
    assert read_settings({}, config).grpc_port == 3003


def test_the_environment_beats_the_file(config: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEQSERVE_GRPC_PORT", "2002")

    assert read_settings({}, config).grpc_port == 2002


def test_a_flag_beats_all_the_others(config: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEQSERVE_GRPC_PORT", "2002")

    assert read_settings({"grpc_port": "1001"}, config).grpc_port == 1001


def test_sources_are_merged_setting_by_setting(config: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEQSERVE_HTTP_PORT", "2002")

    settings = read_settings({"host": "::1"}, config)

    assert (settings.host, settings.http_port, settings.grpc_port) == ("::1", 2002, 3003)


def test_faults_of_every_source_are_told_at_once(config: Path, environment: pytest.MonkeyPatch) -> None:
    config.write_text('max_queue_size = 0\nlog_level = "loud"\n')
    environment.setenv("SEQSERVE_HTTP_PORT", "eighty")

    message = str(refusal({"grpc_port": "65536", "engine": "magic"}, config))

    for name in ("max_queue_size", "log_level", "http_port", "grpc_port", "engine"):
        assert f"{name}: " in message
    assert "\n" not in message


def test_an_unknown_key_in_the_file_is_refused_by_name(config: Path) -> None:
    config.write_text("grpc_prot = 1\n")

    assert "grpc_prot" in str(refusal({}, config))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    refused = refusal({}, tmp_path / "nowhere.toml")

    assert "nowhere.toml" in str(refused)
    assert "--config" in refused.hint


@pytest.mark.parametrize("content", [b"grpc_port: 3003\n", b"\xff\xfe\x00"], ids=["YAML", "no text"])
def test_a_file_that_is_no_toml_is_refused(config: Path, content: bytes) -> None:
    config.write_bytes(content)

    refused = refusal({}, config)

    assert str(config) in str(refused)
    assert "TOML" in refused.hint


def test_settings_do_not_change() -> None:
    settings = read_settings({})

    with pytest.raises(ValidationError):
        settings.grpc_port = 1  # type: ignore[misc]  # that is the test


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_read_from_the_environment(name: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv(f"SEQSERVE_{name.upper()}", "no number")

    field = Settings.model_fields[name]
    if field.annotation in (str, Path, Path | None) and name != "otlp_endpoint":
        assert str(getattr(read_settings({}), name)) == "no number"
    else:
        assert f"{name}: " in str(refusal({}))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"max_queue_size": "10"}, "max_request_examples"),
        ({"max_message_bytes": str(2**40)}, "max_message_bytes"),
        ({"default_timeout_seconds": "0"}, "default_timeout_seconds"),
        ({"otlp_endpoint": "collector:4317"}, "otlp_endpoint"),
        ({"host": ""}, "host"),
        ({"model_store": ""}, "model_store"),
    ],
)
def test_values_that_could_not_work_are_refused(flags: dict[str, str], words: str) -> None:
    assert words in str(refusal(flags))
