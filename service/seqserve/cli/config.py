"""`seqserve config`: the settings that `serve` would have, as a TOML file that could be given back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import tomli_w

from seqserve.cli.serve import given_settings, settings_options
from seqserve.settings import Settings
from seqserve.settings_reading import read_settings, source_of, unknown_variables

CREDENTIALS = re.compile(r"(?<=://)[^/@]+(?=@)")
MASK = "***"


@click.command("config")
@settings_options
def command(config: Path | None, **flags: Any) -> None:
    """Show the settings that `serve` would have with these options, environment and file; secrets masked.

    The output is TOML: a file with it, given as --config, has the same effect, once what is masked is
    filled in.

    \b
    Examples:
      seqserve config
      seqserve config --config seqserve.toml --grpc-port 9001
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    given = given_settings(flags)
    settings = read_settings(given, config)
    for name in unknown_variables():
        click.echo(f"warning: {name} is in the environment, and no setting has that name", err=True)
    click.echo(_as_toml(settings, {name: source_of(name, given, config) for name in Settings.model_fields}))


def _as_toml(settings: Settings, sources: dict[str, str]) -> str:
    """One line a setting with its source, then the sections; what is not set is a comment."""
    values = json.loads(settings.model_dump_json())
    models, clients = values.pop("models"), values.pop("clients")
    lines = [f"{_line(name, value)}  # {sources[name]}" for name, value in values.items()]
    parts = ["\n".join(lines)]
    if models:
        parts.append(_sections("models", models))
    if clients:
        masked = {
            name: {**own, "token_sha256": [MASK] * len(own["token_sha256"])} for name, own in clients.items()
        }
        parts.append(f"# clients: {sources['clients']}\n{_sections('clients', masked)}")
    return "\n\n".join(parts)


def _sections(name: str, sections: dict[str, dict[str, Any]]) -> str:
    return tomli_w.dumps({name: {key: _given(own) for key, own in sections.items()}}).rstrip()


def _given(section: dict[str, Any]) -> dict[str, Any]:
    """Without what is not set. A zero is set: it may stand against the value for all models."""
    return {key: value for key, value in section.items() if value is not None and value != {}}


def _line(name: str, value: object) -> str:
    if value is None:
        return f"# {name} is not set"
    masked = CREDENTIALS.sub(MASK, value) if isinstance(value, str) else value
    return tomli_w.dumps({name: masked}).rstrip()
