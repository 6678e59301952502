"""`seqserve serve`: the gateway in the foreground."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from seqserve.settings import SECTIONS, Port, Settings
from seqserve.settings_reading import read_settings


def settings_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that takes settings: one for each, and --config."""
    function = click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings.")(
        function
    )
    for name, field in reversed(Settings.model_fields.items()):
        if name not in SECTIONS:
            function = _option(name, field)(function)
    return function


def given_settings(flags: dict[str, Any]) -> dict[str, Any]:
    """What was given on the command line."""
    return {name: value for name, value in flags.items() if value is not None}


def _option(name: str, field: FieldInfo) -> Callable[[Callable[..., None]], Callable[..., None]]:
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        return click.option(flag, name, is_flag=True, default=None, help=field.description)
    # Values stay text here: the settings check them, and report every fault at once.
    return click.option(flag, name, default=None, metavar=_metavar(field), help=_help(field))


def _metavar(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f"[{'|'.join(get_args(field.annotation))}]"
    names: dict[object, str] = {int: "INTEGER", float: "NUMBER", str: "TEXT", Port | None: "INTEGER"}
    return names.get(field.annotation, "PATH")


def _help(field: FieldInfo) -> str:
    default = "" if field.default in (None, "") else f" [default: {field.default}]"
    return f"{field.description}{default}"


@click.command("serve")
@settings_options
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
    reread = partial(read_settings, given_settings(flags), config)
    settings = reread()
    # Settings are checked before anything heavy is imported.
    from seqserve.grpc_api.loop import ServerLoop  # noqa: PLC0415
    from seqserve.server import serve  # noqa: PLC0415

    with asyncio.Runner(loop_factory=ServerLoop) as runner:
        runner.run(serve(settings, config=config, reread=reread))
