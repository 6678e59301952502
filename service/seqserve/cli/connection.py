"""What the commands that talk to a gateway share: where it is, TLS, the token, and errors as one line."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from seqserve.cli.faults import NotTried, Refused
from seqserve.client import Client, HandshakeFailed, PredictionError, Tls
from seqserve.client.tokens import authorization, is_loopback
from seqserve.regular_file import read_regular

ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:]+\]|[^\s:/]+):(\d{1,5})")
MAX_PORT = 65535
MAX_TOKEN_FILE_BYTES = 16384
TOKEN = "SEQSERVE_TOKEN"  # noqa: S105 - the name of a variable; no option, which everybody could read in `ps`
PEM_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway to ask, and as whom."""

    address: str
    tls: Tls | None = None
    token: str | None = field(default=None, repr=False)

    def refused(self, error: PredictionError) -> Refused:
        """What to say of a call that came to nothing."""
        if isinstance(error, HandshakeFailed):
            return Refused(str(error))
        if error.is_unreachable:
            return Refused(
                f"no gateway answers at {self.address} "
                f"(start one with `seqserve serve`, or name another --address)"
            )
        return Refused(f"{self.address}: {error.code}: {error}")


def _check_address(_: click.Context, __: click.Parameter, address: str) -> str:
    """HOST:PORT, or a usage error; gRPC would take anything and fail later in words of its own."""
    found = ADDRESS.fullmatch(address)
    if found is None or not 1 <= int(found[1]) <= MAX_PORT:
        raise click.BadParameter(f"{address!r}; accepted: HOST:PORT, such as 127.0.0.1:8001")
    return address


OPTIONS = (
    click.option(
        "--address",
        default="127.0.0.1:8001",
        show_default=True,
        envvar="SEQSERVE_ADDRESS",
        show_envvar=True,
        callback=_check_address,
        help="HOST:PORT of the gateway's gRPC.",
    ),
    click.option(
        "--tls/--no-tls", default=None, help="Speak TLS; so it is where one of the next three is given."
    ),
    click.option(
        "--tls-ca",
        type=PEM_FILE,
        envvar="SEQSERVE_TLS_CA",
        show_envvar=True,
        help="PEM file with who may sign the gateway's certificate; default: those gRPC brings along.",
    ),
    click.option("--tls-certificate", type=PEM_FILE, help="PEM file with your own certificate, for mTLS."),
    click.option("--tls-key", type=PEM_FILE, help="PEM file with its private key."),
    click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="SEQSERVE_TOKEN_FILE",
        show_envvar=True,
        help=f"File with your token; {TOKEN} may hold the token itself instead.",
    ),
)


def connecting(command: Callable[..., None], *, may_probe: bool = False) -> Callable[..., None]:
    """Give a command the options above; it takes them as one `target`.

    may_probe: with --no-tls it may mean the port for probes, which takes no token: then none goes to others.
    """

    @functools.wraps(command)
    def with_target(*, address: str, token_file: Path | None, tls: bool | None, **options: Any) -> None:
        files = {name: options.pop(f"tls_{name}") for name in ("ca", "certificate", "key")}
        target = Target(address, _tls(tls, files), _token(token_file))
        if target.token and not target.tls and not is_loopback(address):
            if not may_probe or tls is not False:
                raise NotTried(f"a token goes to {address} over TLS only (--tls)")
            target = replace(target, token=None)
        command(target=target, **options)

    for option in reversed(OPTIONS):
        with_target = option(with_target)
    return with_target


def _tls(is_wanted: bool | None, files: dict[str, Path | None]) -> Tls | None:  # noqa: FBT001 - a flag's value
    if is_wanted is False or not (is_wanted or any(files.values())):
        return None
    try:
        return Tls(files["ca"], files["certificate"], files["key"])
    except ValueError as error:
        raise click.UsageError("--tls-certificate and --tls-key go together") from error


def _token(file: Path | None) -> str | None:
    """That of the file, else that of the environment; its text is nowhere quoted."""
    source = TOKEN if file is None else str(file)
    try:
        text = os.environ.get(TOKEN) if file is None else _text(file)
        if text is not None:
            authorization(text)
    except OSError as error:
        raise NotTried(f"{source}: {error.strerror or error}") from error
    except ValueError as error:  # UnicodeDecodeError, which would quote it, among them
        raise NotTried(f"{source}: holds no token") from error
    return text


def _text(file: Path) -> str:
    """Links are followed: secrets are mounted so. Raises OSError, UnicodeDecodeError."""
    return read_regular(file, MAX_TOKEN_FILE_BYTES, follows_links=True).decode().strip()


@contextmanager
def connected(target: Target, **options: Any) -> Iterator[Client]:
    """A client for the length of the block; the gateway's refusals become one line and exit status 1."""
    try:
        # Who sits at a terminal tries again by hand.
        client = Client(
            target.address, max_attempts=1, token=target.token, tls=target.tls or False, **options
        )
    except OSError as error:
        raise NotTried(f"{error.filename}: {error.strerror}") from error
    with client:
        try:
            yield client
        except PredictionError as error:
            raise target.refused(error) from error
