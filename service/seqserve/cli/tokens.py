"""`seqserve tokens`: makes the tokens that clients call a gateway with."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click
import tomli_w
from pydantic import ConfigDict, TypeAdapter, ValidationError

from seqserve.access.tokens import new_token, token_digest
from seqserve.client_settings import MOST_TOKENS, ClientName, ClientSettings, Scope
from seqserve.errors import SettingsInvalid
from seqserve.settings_reading import read_settings

NOTE = "# For the gateway's file, --config. The token itself was shown once, and is kept nowhere."


@click.group("tokens")
def command() -> None:
    """Make tokens that clients call a gateway with.

    \b
    Examples:
      seqserve tokens new phone
      seqserve tokens new operator --scope admin --scope metrics
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines


@command.command("new")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(get_args(Scope)),
    multiple=True,
    help="What it is good for; may be given several times. [default: inference]",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A gateway's file: the section is the client's there, with one token more. It is only read.",
)
def new_command(*, name: str, scopes: tuple[Scope, ...], config: Path | None) -> None:
    """Print a new token, and the section of the configuration that lets its client NAME in.

    The token goes to standard output, this once: it is kept nowhere. The section goes to standard error
    and has only the token's SHA-256: put it into the gateway's file (serve --config), in place of the
    client's old section if it has one. A gateway that serves takes it up.

    \b
    Examples:
      seqserve tokens new phone
      seqserve tokens new phone > phone.token 2>> seqserve.toml
      seqserve tokens new phone --config seqserve.toml      one token more
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    _check(name)
    token = new_token()
    section = _section(name, scopes, config, token_digest(token).hex())
    click.echo(token)
    click.echo(f"{NOTE}\n{tomli_w.dumps({'clients': {name: section}})}", err=True, nl=False)


def _check(name: str) -> None:
    try:
        TypeAdapter(ClientName, config=ConfigDict(regex_engine="python-re")).validate_python(name)
    except ValidationError as error:
        raise click.BadParameter(
            "letters, digits, `_`, `.` and `-`, at most 64, the first a letter or digit", param_hint="NAME"
        ) from error


def _section(name: str, scopes: tuple[Scope, ...], config: Path | None, digest: str) -> dict[str, object]:
    """The client's own section with another token; scopes stay as they are unless some are given."""
    found = None if config is None else read_settings({}, config).clients.get(name)
    given = {"scopes": scopes} if scopes else {}
    if found is None:
        return ClientSettings(token_sha256=(digest,), **given).model_dump(exclude_none=True)
    if len(found.token_sha256) == MOST_TOKENS:
        raise SettingsInvalid(
            f"clients.{name}: it has {MOST_TOKENS} tokens, the most there may be", hint="remove one first"
        )
    tokens = (*found.token_sha256, digest)
    return found.model_copy(update={"token_sha256": tokens, **given}).model_dump(exclude_none=True)
