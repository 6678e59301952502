"""Errors → one line on standard error and an exit status; a traceback only with --debug."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from seqserve import errors
from seqserve.printable import printable

NO, NOT_TRIED, INTERRUPTED = 1, 2, 130
DEBUG = "--debug"


class Refused(click.ClickException):
    """The answer is no; exit status 1."""

    exit_code = NO

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        """One line."""
        click.echo(printable(f"seqserve: {self.message}"), err=True)


class NotTried(Refused):
    """It could not be tried; exit status 2."""

    exit_code = NOT_TRIED


def run(group: click.Group) -> NoReturn:
    """Run the command line and exit as documented in `seqserve --help`."""
    arguments = [argument for argument in sys.argv[1:] if argument != DEBUG]
    is_debugging = DEBUG in sys.argv
    try:
        group.main(arguments, prog_name="seqserve", standalone_mode=False)
    except NoArgsIsHelpError as error:  # `seqserve` alone: the help itself is the answer
        click.echo(error.format_message(), err=True)
        sys.exit(NOT_TRIED)
    except click.UsageError as error:
        click.echo(f"seqserve: {error.format_message()} (see `{_path(error)} --help`)", err=True)
        sys.exit(NOT_TRIED)
    except click.ClickException as error:
        if is_debugging:
            traceback.print_exc()
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("seqserve: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `seqserve models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(NO)
    except Exception as error:  # noqa: BLE001 - the outermost boundary
        if is_debugging:
            traceback.print_exc()
        elif _is_interrupt(error):
            click.echo("seqserve: interrupted", err=True)
        else:
            click.echo(printable(_line(error)), err=True)
        sys.exit(INTERRUPTED if _is_interrupt(error) else _exit_status(error))
    sys.exit(0)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: Python wraps one that comes while a class is being made."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _path(error: click.UsageError) -> str:
    return error.ctx.command_path if error.ctx else "seqserve"


def _line(error: Exception) -> str:
    if isinstance(error, errors.StartFault) and error.hint:
        return f"seqserve: {error} ({error.hint})"
    if isinstance(error, errors.SeqserveError):
        return f"seqserve: {error}"
    return f"seqserve: unexpected {type(error).__name__}: {error} (--debug shows where)"


def _exit_status(error: Exception) -> int:
    is_not_tried = isinstance(error, errors.StartFault) and not isinstance(error, errors.ArchiveInvalid)
    return NOT_TRIED if is_not_tried else NO
