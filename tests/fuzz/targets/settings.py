"""The settings file, TOML: settings that hold, or SettingsInvalid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzz.target import Target, scratch
from seqserve.errors import SettingsInvalid
from seqserve.settings import ENV_PREFIX, Settings
from seqserve.settings_reading import read_settings, source_of


def check(data: bytes) -> None:
    """Read a file as `seqserve serve --config` does."""
    path = scratch() / "seqserve.toml"
    path.write_bytes(data)
    with _no_others():
        _check_file(path)


def _check_file(path: Path) -> None:
    try:
        settings = read_settings({}, path)
    except SettingsInvalid as refused:
        _check_told(refused)
        return
    for name in Settings.model_fields:
        assert source_of(name, {}, path) in {"default", path.name}
    assert Settings.model_validate(settings.model_dump()).model_dump() == settings.model_dump()


def _check_told(refused: SettingsInvalid) -> None:
    """One line for a terminal; there may be many faults."""
    words = str(refused)
    assert words
    assert words.isprintable(), f"words that cannot be printed: {words!r}"


@contextmanager
def _no_others() -> Iterator[None]:
    """Without settings in the environment, which beat those of a file; they are back at the end."""
    kept = {name: value for name, value in os.environ.items() if name.upper().startswith(ENV_PREFIX)}
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def seeds() -> list[bytes]:
    """Every setting with a value of its kind, and both sections."""
    return [
        b'model_store = "model-store"\nengine = "embedded"\ngrpc_port = 0\n',
        b'host = "0.0.0.0"\nfront = "native"\nbehind_proxy = true\n',
        b'[models.digit]\nversion_policy = "latest 2"\nmax_batch_size = 8\nmax_batch_delay_ms = 2.5\n',
        b"[models.digit.labels]\nstable = 1\n[models.a]\n",
        b'[clients.web]\ntoken_sha256 = ["' + b"0" * 64 + b'"]\nscopes = ["inference", "admin"]\n'
        b"max_concurrent_requests = 4\nmax_requests_per_second = 1.5\n",
        b'torchserve_addresses = "127.0.0.1:7070"\nengine = "torchserve"\n',
        *(f"{name} = 1\n".encode() for name in Settings.model_fields),
    ]  # fmt: skip


TARGET = Target(
    "settings",
    check,
    seeds,
    (
        *(name.encode() for name in Settings.model_fields), b"[models.", b"[clients.", b"ssv_", b"inf", b"nan",
        b"1e999", b"1979-05-27T07:32:00Z", b'"""', b"'''", b"\\u2028", b"\\ud800", b"[[", b"{a=", b"-1", b"true",
    ),
    max_bytes=1024,
    few=150,
)  # fmt: skip
