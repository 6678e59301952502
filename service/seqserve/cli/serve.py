"""`seqserve serve`: the gateway in the foreground."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from seqserve.settings import Settings, read_settings

# Every setting has an option, an environment variable and a key in the file; this one is a switch.
SWITCH = "with_torchserve"


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for name, field in reversed(Settings.model_fields.items()):
        if name != SWITCH:
            flag = f"--{name.replace('_', '-')}"
            # Values stay text here: the settings check them, and report every fault at once.
            option = click.option(flag, name, default=None, metavar=_metavar(field), help=_help(field))
            function = option(function)
    return function


def _metavar(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f"[{'|'.join(get_args(field.annotation))}]"
    names: dict[object, str] = {int: "INTEGER", float: "NUMBER", str: "TEXT"}
    return names.get(field.annotation, "PATH")


def _help(field: FieldInfo) -> str:
    default = "" if field.default in (None, "") else f" [default: {field.default}]"
    return f"{field.description}{default}"


@click.command("serve")
@_options
@click.option(
    "--with-torchserve", is_flag=True, default=None, help="Run a TorchServe beside it, for HTTP users."
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings.")
def command(config: Path | None, **flags: Any) -> None:
    """Serve the models of a store until SIGTERM or Ctrl-C, then drain.

    A flag beats the environment (SEQSERVE_GRPC_PORT), which beats --config, which beats the default.

    \b
    Examples:
      seqserve serve
      seqserve serve --model-store /models --host 0.0.0.0 --grpc-port 9001
      seqserve serve --with-torchserve          HTTP inference by TorchServe on :8080 as well
      seqserve serve --engine torchserve        TorchServe runs the models behind the gateway
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    given = {name: value for name, value in flags.items() if value is not None}
    settings = read_settings(given, config)
    from seqserve.server import serve  # noqa: PLC0415 - settings are checked before anything heavy is imported

    asyncio.run(serve(settings))
