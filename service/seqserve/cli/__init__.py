"""The one command, `seqserve`. Subcommands are imported when they are called, so that `--help` is quick."""

from __future__ import annotations

import importlib
import os

import click

from seqserve import __version__

COMMANDS = {
    "new": "Write a commented example of your own model.",
    "build": "Train, export, verify and archive models, of the zoo or your own.",
    "check": "Follow an example's shape through a model, layer by layer.",
    "package": "Archive a model that was trained elsewhere.",
    "keys": "Make or list keys that attest archives.",
    "attest": "Attest archives that are in a store already.",
    "tokens": "Make tokens that clients call a gateway with.",
    "tune": "Measure models' batches, and propose settings that keep to a bound on the p99.",
    "serve": "Serve a model store over gRPC and HTTP.",
    "config": "Show the settings that `serve` would have, and where each comes from.",
    "predict": "Ask a running gateway what is in a picture.",
    "models": "List the models of a running gateway.",
    "health": "Ask whether a gateway, or one model of it, is ready.",
    "store": "List, verify or prune the archives of a model store.",
    "doctor": "Look at all that `serve` would need, and say what to do about what is wrong.",
    "inspect": "Verify an archive and print its signature.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports `seqserve.cli.<name>` on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order of the workflow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"seqserve.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - narrows a dynamic import
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Names and one line each, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="seqserve")
@click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error; anywhere on the line."
)
def group() -> None:
    """Train nn.Sequential models, pack them as TorchServe archives, serve them over gRPC and HTTP.

    \b
    A first round, from nothing to an answer:
      seqserve build digit_mlp              trains, writes model-store/digit_mlp-1.mar
      seqserve serve                        gRPC on :8001, metrics on :8000
      seqserve models                       what is served
      seqserve predict seven.png            the label and its probability

    \b
    Exit status:
      0    done
      1    the answer is no: a refused request, an invalid archive, not ready, nobody answers
      2    it could not be tried: wrong usage or setting, no store, port in use, missing package
      70   the GPU broke for this process: start it again
      130  interrupted
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines


def main() -> None:
    """Entry point of the console script."""
    # gRPC reads it when it is imported. By itself it writes a line for each handshake that fails, so that
    # anybody who can reach a port with TLS could fill the log.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from seqserve.cli.faults import run  # noqa: PLC0415 - kept out of `import seqserve.cli`

    run(group)
