"""Settings: where a value may come from, who wins, and that every fault is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from seqserve.engine_setup import batch_limits
from seqserve.errors import SettingsInvalid
from seqserve.repository.policy import VersionPolicy
from seqserve.repository.routing import Routing
from seqserve.settings import Settings
from seqserve.settings_reading import read_settings
from seqserve.signature import Signature
from support.contract import signature_document

DIGIT = Signature.parse(signature_document("digit")).model_copy(update={"name": "digit_mlp"})
LINE = Signature.parse(signature_document("line"))


CHECKED = (
    "otlp_endpoint", "torchserve_address", "torchserve_tls_ca", "torchserve_token_file", "version_policy",
    "tls_key", "tls_certificate", "tls_client_ca",
)  # fmt: skip
"""Text, but not any text, or only beside another setting."""


pytestmark = pytest.mark.usefixtures("environment")


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


def test_faults_between_settings_are_told_beside_those_of_single_ones(config: Path) -> None:
    config.write_text("""
        grpc_port = "x"
        max_queue_size = 10
        default_timeout_seconds = 400
        [models.a]
        labels = { stable = 1, next = 1 }
        weights = { stable = 0, next = 0, other = 0 }
        max_queue_size = 1
        [models.b]
        lables = {}
        max_queue_size = 2
    """)
    message = str(refusal({}, config))

    for words in (
        "grpc_port: ",
        "max_queue_size: 10 is less than max_request_examples, 1024",
        "default_timeout_seconds: 400 is more than max_timeout_seconds, 300",
        "models.a.weights: 'other' is neither a version nor one of the labels ['next', 'stable']",
        "two of ['next', 'other', 'stable'] mean the same version",
        "all of them are 0",
        "models.a.max_queue_size: 1 is less than max_request_examples, 1024",
        "models.b.lables: ",
        "models.b.max_queue_size: 2 is less than max_request_examples, 1024",
    ):
        assert words in message


def test_what_follows_from_a_fault_is_not_told_as_another(config: Path) -> None:
    config.write_text("""
        max_request_examples = 0
        max_queue_size = 10
        max_timeout_seconds = "long"
        default_timeout_seconds = 400
        [models.a]
        labels = { stable = 0 }
        weights = { stable = 1 }
        max_queue_size = "many"
    """)
    message = str(refusal({}, config))

    for name in ("max_request_examples", "max_timeout_seconds", "labels.stable", "models.a.max_queue_size"):
        assert f"{name}: " in message
    for consequence in ("less than max_request_examples", "more than max_timeout_seconds", "neither"):
        assert consequence not in message


def test_a_section_that_is_no_table_is_refused(config: Path) -> None:
    config.write_text("models.a = 5\n")

    assert "models.a: " in str(refusal({}, config))


def test_a_file_that_is_nested_too_deeply_is_refused(config: Path) -> None:
    config.write_text(f"a = {'[' * 5000}{']' * 5000}")

    assert "nested too deeply" in str(refusal({}, config))


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


@pytest.mark.parametrize("address", ["torchserve:7070", "10.0.0.1:7070, 10.0.0.2:7070", "[::1]:7070"])
def test_torchserves_that_somebody_else_runs_are_addresses(address: str) -> None:
    settings = read_settings({"engine": "torchserve", "torchserve_address": address, "torchserve_tls": True})

    assert settings.torchserve_address == address


@pytest.mark.parametrize(
    "address", ["torchserve", "torchserve:", ":7070", "host:port", "host:70700", "::1:7070", "a:1,,b:2"]
)
def test_what_is_no_address_is_refused_by_name(address: str) -> None:
    refused = refusal({"engine": "torchserve", "torchserve_address": address})

    assert str(refused).startswith("torchserve_address: ")


def test_addresses_go_with_the_torchserve_engine() -> None:
    refused = refusal({"torchserve_address": "torchserve:7070"})

    assert "engine torchserve" in str(refused)


@pytest.mark.parametrize("name", ["torchserve_token_file", "torchserve_tls", "torchserve_tls_ca"])
def test_what_goes_with_addresses_is_refused_without_any(name: str) -> None:
    refused = refusal({"engine": "torchserve", name: "true"})

    assert f"{name}: it goes with torchserve_address" in str(refused)


def test_the_token_of_a_torchserve_of_others_is_not_ours_to_share() -> None:
    refused = refusal(
        {"engine": "torchserve", "torchserve_address": "torchserve:7070", "torchserve_share_token": "token"}
    )

    assert "torchserve_share_token goes with a managed TorchServe" in str(refused)


def test_who_may_sign_certificates_is_refused_without_tls() -> None:
    refused = refusal(
        {"engine": "torchserve", "torchserve_address": "torchserve:7070", "torchserve_tls_ca": "ca.pem"}
    )

    assert "torchserve_tls_ca: it goes with torchserve_tls" in str(refused)


def test_time_for_calls_on_old_connections_is_refused_where_none_grows_old() -> None:
    refused = refusal({"max_connection_age_grace_seconds": "5"})

    assert "max_connection_age_grace_seconds: it goes with max_connection_age_seconds" in str(refused)
    assert read_settings({"max_connection_age_grace_seconds": "5", "max_connection_age_seconds": "60"})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_connection_age_seconds", "0.0001", "0, or at least 0.1"),
        ("torchserve_host", "::1", "an address of IPv4"),
    ],
)
def test_what_would_only_fail_later_is_refused_at_once(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsInvalid, match=words):
        read_settings({name: value})


def test_settings_do_not_change() -> None:
    settings = read_settings({})

    with pytest.raises(ValidationError):
        settings.grpc_port = 1  # type: ignore[misc]  # that is the test


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_read_from_the_environment(name: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv(f"SEQSERVE_{name.upper()}", "no number")

    field = Settings.model_fields[name]
    if field.annotation in (str, Path, Path | None) and name not in CHECKED:
        assert str(getattr(read_settings({}), name)) == "no number"
    else:
        told_of = "tls_certificate" if name == "tls_key" else name  # see Settings: at the later of two
        assert f"{told_of}: " in str(refusal({}))


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


def test_a_model_has_a_section_of_its_own(config: Path) -> None:
    config.write_text("""
        max_queue_size = 2000
        [models.digit_mlp]
        labels = { stable = 3, next = "4" }
        weights = { stable = 90, 4 = 10 }
        version_policy = "latest:2"
        max_queue_size = 5000
        max_batch_size = 64
    """)
    settings = read_settings({}, config)
    own = settings.of_model("digit_mlp")

    assert own.routing == Routing(labels={"stable": "3", "next": "4"}, weights={"3": 90, "4": 10})
    assert settings.policy_of("digit_mlp") == VersionPolicy(latest=2)
    assert settings.policy_of("line") == VersionPolicy()
    limits = batch_limits(settings, DIGIT)
    assert (limits.max_queue_size, limits.max_batch_size) == (5000, 64)
    assert batch_limits(settings, LINE).max_queue_size == 2000


def test_a_batch_is_never_larger_than_the_archive_allows(config: Path) -> None:
    config.write_text("[models.digit_mlp]\nmax_batch_size = 100000\n")
    assert batch_limits(read_settings({}, config), DIGIT).max_batch_size == DIGIT.max_batch_size


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ('labels = { "1" = 2 }', "'1' is no label; accepted: a letter"),
        ("labels = { stable = 0 }", "'0' is no version"),
        (
            "weights = { other = 1 }",
            "models.digit_mlp.weights: 'other' is neither a version nor one of the labels []",
        ),
        ("weights = { 1 = 0 }", "all of them are 0"),
        ("labels = { a = 1 }\nweights = { a = 1, 1 = 1 }", "mean the same version"),
        ("weights = { 1 = -1 }", "models.digit_mlp.weights.1"),
        ('version_policy = "newest"', "'newest' is no version policy; accepted: all, latest:N or listed:1,3"),
        ("max_queue_size = 5", "models.digit_mlp.max_queue_size: 5 is less than max_request_examples"),
        ("lables = {}", "models.digit_mlp.lables"),
    ],
)
def test_a_fault_in_a_models_section_names_model_and_field(config: Path, section: str, words: str) -> None:
    config.write_text(f"[models.digit_mlp]\n{section}\n")
    assert words in str(refusal({}, config))


def test_a_caller_without_a_deadline_waits_no_longer_than_any_other() -> None:
    assert "default_timeout_seconds: 60 is more than max_timeout_seconds, 10" in str(
        refusal({"default_timeout_seconds": "60", "max_timeout_seconds": "10"})
    )
