"""Settings from where they stand: flags, the environment, the file."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict, SettingsError

from seqserve.errors import SettingsInvalid
from seqserve.settings import ENV_PREFIX, SECTIONS, Settings
from seqserve.settings_faults import faults_of

# Read by other commands than `serve`.
OF_OTHER_COMMANDS = frozenset(
    {
        "SEQSERVE_ADDRESS",
        "SEQSERVE_SIGNING_KEY",
        "SEQSERVE_TLS_CA",
        "SEQSERVE_TOKEN",
        "SEQSERVE_TOKEN_FILE",
    }
)


def read_settings(flags: dict[str, Any], config: Path | None = None) -> Settings:
    """Settings from flags, environment and file. Raises SettingsInvalid that lists every fault."""
    if config is not None and not config.is_file():
        raise SettingsInvalid(f"config: no file {config}", hint="give --config an existing TOML file")

    try:
        return _settings_of(config)(**flags)
    except ValidationError as error:
        faults = faults_of(error, Settings)
        raise SettingsInvalid("; ".join(faults), hint="see `seqserve serve --help`") from error
    except SettingsError as error:  # a variable that holds more than a word
        named = [name for name in sorted(SECTIONS) if not _is_json(_variable(name) or "{}")]
        faults = [f"{name}: {ENV_PREFIX}{name.upper()} is no JSON" for name in named]
        raise SettingsInvalid("; ".join(faults), hint='{"NAME": {...}}') from error
    except RecursionError as error:
        variables = " or ".join(f"{ENV_PREFIX}{name.upper()}" for name in sorted(SECTIONS))
        raise SettingsInvalid(
            f"config {config}, or {variables}: nested too deeply", hint="settings are flat tables"
        ) from error
    except ValueError as error:  # the TOML file does not parse
        raise SettingsInvalid(f"config {config}: {error}", hint="the file must be TOML") from error


@cache
def _settings_of(config: Path | None) -> type[Settings]:
    """Reads that file each time it is called; making the class takes longer than that."""

    class FileSettings(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    return FileSettings


def _variable(name: str) -> str | None:
    """What the environment has for a setting, in whatever case; None where it has nothing."""
    wanted = f"{ENV_PREFIX}{name}".upper()
    return next((text for variable, text in os.environ.items() if variable.upper() == wanted), None)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def source_of(name: str, flags: Mapping[str, Any], config: Path | None) -> str:
    """Where a setting's value comes from: `flag`, `environment`, the file's name, or `default`."""
    if name in flags:
        return "flag"
    if _variable(name) is not None:
        return "environment"
    if config is not None and name in tomllib.loads(config.read_text()):
        return config.name
    return "default"


def unknown_variables() -> list[str]:
    """Variables of the environment that look like settings and are none, as misspelt ones."""
    known = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields} | OF_OTHER_COMMANDS
    return sorted(
        name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name.upper() not in known
    )
