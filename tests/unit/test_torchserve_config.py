"""What a managed TorchServe is started with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seqserve.engines.torchserve.config import (
    Layout,
    Programs,
    TorchServePorts,
    TorchServeSettings,
    command_line,
    config_properties,
    environment,
    log_configuration,
)

PROGRAMS = Programs(
    java=Path("/venv/java-runtime/bin/java"),
    jar=Path("/venv/lib/ts/frontend/model-server.jar"),
    python=Path("/venv/bin/python"),
)
LAYOUT = Layout(Path("/private"))
PORTS = TorchServePorts(http=1, management=2, metrics=3, grpc=4, grpc_management=5)


def options(settings: TorchServeSettings) -> dict[str, str]:
    return dict(line.split("=", 1) for line in config_properties(settings, PORTS).splitlines())


def given(**ours: str) -> dict[str, str]:
    return environment(PROGRAMS, LAYOUT, TorchServeSettings(intra_op_threads=3), ours)


def test_every_api_listens_on_loopback_at_its_own_port() -> None:
    config = options(TorchServeSettings())

    assert [config[f"{api}_address"] for api in ("inference", "management", "metrics")] == [
        "http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3",
    ]  # fmt: skip
    assert (config["grpc_inference_address"], config["grpc_inference_port"]) == ("127.0.0.1", "4")
    assert (config["grpc_management_address"], config["grpc_management_port"]) == ("127.0.0.1", "5")


@pytest.mark.parametrize(
    ("host", "url", "own"),
    [("0.0.0.0", "http://0.0.0.0:1", "127.0.0.1"), ("::1", "http://[::1]:1", "::1")],
)
def test_only_predictions_are_open_to_other_machines(host: str, url: str, own: str) -> None:
    settings = TorchServeSettings(host=host)
    config = options(settings)

    assert (config["inference_address"], config["grpc_inference_address"]) == (url, host)
    assert [config[f"{api}_address"] for api in ("management", "metrics")] == [
        "http://127.0.0.1:2", "http://127.0.0.1:3",
    ]  # fmt: skip
    assert config["grpc_management_address"] == "127.0.0.1"
    assert settings.own_host == own


def test_workers_get_gpus_unless_it_is_for_the_cpu_alone() -> None:
    assert "number_of_gpu" not in options(TorchServeSettings())
    assert options(TorchServeSettings(is_cpu_only=True))["number_of_gpu"] == "0"


def test_tokens_are_on_and_live_as_long_as_set() -> None:
    config = options(TorchServeSettings(token_minutes=0.5))

    assert config["disable_token_authorization"] == "false"  # noqa: S105 - it is no password
    assert float(config["token_expiration_min"]) == 0.5


@pytest.mark.parametrize(
    "url", ["http://a/m.mar", "https://a/m.mar", "file:///etc/passwd", "s3://a/m.mar", ""]
)
def test_no_url_is_allowed_to_bring_a_model(url: str) -> None:
    assert not re.fullmatch(options(TorchServeSettings())["allowed_urls"], url)


def test_models_bring_no_packages_and_get_one_worker() -> None:
    config = options(TorchServeSettings())

    assert config["install_py_dep_per_model"] == "false"
    assert config["default_workers_per_model"] == "1"


def test_message_limits_leave_room_around_the_payload() -> None:
    config = options(TorchServeSettings(max_message_bytes=1000))

    assert int(config["max_request_size"]) > 1000
    assert int(config["max_response_size"]) > 1000


def test_limits_beyond_a_java_int_are_cut_to_one() -> None:
    config = options(TorchServeSettings(max_message_bytes=2**40))

    assert config["max_request_size"] == config["max_response_size"] == str(2**31 - 1)


def test_the_heap_grows_with_the_messages() -> None:
    assert "-Xmx1600m" in command_line(PROGRAMS, LAYOUT, TorchServeSettings(max_message_bytes=100 * 2**20))


def test_the_command_names_what_was_found_and_takes_no_snapshots() -> None:
    command = command_line(PROGRAMS, LAYOUT, TorchServeSettings(heap_megabytes=99, max_message_bytes=1000))

    assert command[0] == "/venv/java-runtime/bin/java"
    assert {"-Xmx99m", "-Dmodel_server_home=/venv/lib", "-Djava.io.tmpdir=/private/tmp", "-ncs"} <= set(
        command
    )
    assert command[command.index("-cp") + 1] == "/venv/lib/ts/frontend/model-server.jar"
    assert command[command.index("--python") + 1] == "/venv/bin/python"
    assert command[command.index("-f") + 1] == "/private/config.properties"
    assert command[command.index("-s") + 1] == "/private/model-store"


@pytest.mark.parametrize(
    "name",
    [
        "SEQSERVE_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "TS_CONFIG_FILE",
        "JAVA_TOOL_OPTIONS",
        "LOG_LOCATION",
        "PYTHONPATH",
    ],
)
def test_our_environment_stays_ours(name: str) -> None:
    assert name not in given(**{name: "x"})


def test_the_gpu_and_the_libraries_stay_visible() -> None:
    passed = given(CUDA_VISIBLE_DEVICES="1", NVIDIA_VISIBLE_DEVICES="all", LD_LIBRARY_PATH="/cuda")

    assert passed["CUDA_VISIBLE_DEVICES"] == "1"
    assert passed["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert passed["LD_LIBRARY_PATH"] == "/cuda"


def test_workers_find_our_python_first_and_use_the_threads_they_are_given() -> None:
    passed = given(PATH="/usr/bin", TMPDIR="/tmp")  # noqa: S108 - never opened

    assert passed["PATH"] == "/venv/bin:/usr/bin"
    assert passed["JAVA_HOME"] == "/venv/java-runtime"
    assert passed["TMPDIR"] == "/private/tmp"
    assert passed["OMP_NUM_THREADS"] == passed["SEQSERVE_TORCHSERVE_THREADS"] == "3"
    assert passed["SEQSERVE_TORCHSERVE_REPLY_BYTES"] == str(16 * 2**20)


@pytest.mark.parametrize(("logger", "level"), [("ACCESS_LOG", "off"), ("org.pytorch.serve.wlm", "warn")])
def test_requests_that_go_well_are_not_logged(logger: str, level: str) -> None:
    assert f'<Logger name="{logger}" level="{level}"' in log_configuration()


def test_a_folder_too_deep_for_a_socket_address_is_seen() -> None:
    assert not LAYOUT.is_too_long
    assert Layout(Path("/" + "d" * 100)).is_too_long
