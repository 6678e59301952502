"""TorchServes that somebody else runs: whether each address can be reached and takes our token."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from seqserve.doctor.finding import Finding, fault, ok
from seqserve.engines.torchserve.addresses import Address, joined, parse_addresses, resolve
from seqserve.engines.torchserve.channels import Tls
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.tokens import NoTokens, TokenFile, Tokens
from seqserve.errors import EngineUnavailable
from seqserve.settings import Settings

CHECK = "torchserve-addresses"
WAIT_SECONDS = 5.0
RUNS = "See that TorchServe runs there and listens on that address, then that no firewall is between"


class Unreached(Exception):
    """Why an address cannot be used, and what to do."""

    def __init__(self, found: str, advice: str) -> None:
        self.found, self.advice = found, advice
        super().__init__(found)


@dataclass(frozen=True, slots=True)
class Server:
    """One TorchServe.

    tls_name: what its certificate must be for, None without TLS.
    tls_ca: file with the certificates that may sign its own; None are the usual ones.
    """

    address: Address
    tls_name: str | None
    tls_ca: Path | None
    token_file: Path | None

    def __str__(self) -> str:
        host, port = self.address.host, self.address.port
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def servers_of(settings: Settings) -> list[Server]:
    """Those of the settings, in their order. The gateway knows all of them by the first one's name."""
    found = parse_addresses(settings.torchserve_address)
    name = found[0].host if settings.torchserve_tls else None
    return [Server(one, name, settings.torchserve_tls_ca, settings.torchserve_token_file) for one in found]


async def visit(server: Server) -> None:
    """Resolve, connect, shake hands, ping with the token. Raises Unreached at the first that fails."""
    try:
        await _connect(server)
    except socket.gaierror as error:
        raise Unreached(
            f"the name does not resolve: {error.strerror}", "Correct --torchserve-address."
        ) from error
    except OSError as error:
        raise Unreached(f"no connection: {_words(error)}", f"{RUNS}.") from error
    if server.tls_name is not None:
        await _shake_hands(server, server.tls_name)
    await _ping(server)


def check_servers(
    found: Sequence[Server], call: Callable[[Server], Awaitable[None]] = visit
) -> list[Finding]:
    """Each by itself; those that do not answer are waited for together."""

    async def together() -> list[Finding]:
        return await asyncio.gather(*(_look(server, call) for server in found))

    return asyncio.run(together())


async def _look(server: Server, call: Callable[[Server], Awaitable[None]]) -> Finding:
    try:
        await call(server)
    except Unreached as error:
        return fault(CHECK, f"{server}: {error.found}", error.advice)
    how = "over TLS" if server.tls_name else "without TLS"
    return ok(CHECK, f"{server} answers {how}" + (" and takes the token" if server.token_file else ""))


async def _connect(server: Server, tls: ssl.SSLContext | None = None) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        _, writer = await asyncio.open_connection(
            server.address.host,
            server.address.port,
            ssl=tls,
            server_hostname=server.tls_name if tls else None,
        )
    writer.close()


async def _shake_hands(server: Server, name: str) -> None:
    try:
        context = ssl.create_default_context(cafile=server.tls_ca)
        context.set_alpn_protocols(["h2"])
        await _connect(server, context)
    except ssl.SSLCertVerificationError as error:
        advice = "Name the file with the certificate that signs it: --torchserve-tls-ca."
        raise Unreached(
            f"TLS: its certificate is not accepted for {name}: {error.verify_message}", advice
        ) from error
    except ssl.SSLError as error:
        advice = "Leave out --torchserve-tls where that port speaks none, or check --torchserve-tls-ca."
        raise Unreached(f"TLS: {error.reason or 'no handshake'}", advice) from error
    except OSError as error:
        advice = "See that this port speaks TLS, and that --torchserve-tls-ca can be read."
        raise Unreached(f"TLS: {_words(error)}", advice) from error


def _words(error: OSError) -> str:
    """Without the address, which asyncio puts into its own; a name with several has no number of an error."""
    if isinstance(error, TimeoutError):
        return f"no answer within {WAIT_SECONDS:.0f} s"
    return os.strerror(error.errno) if error.errno else "none of its addresses takes one"


async def _ping(server: Server) -> None:
    tokens: Tokens = TokenFile(server.token_file) if server.token_file else NoTokens()
    try:
        tokens.inference()
    except EngineUnavailable as error:
        advice = "Name TorchServe's key_file.json, or a file with the bare token: --torchserve-token-file."
        raise Unreached(f"{error} ({server.token_file})", advice) from error
    predictions = Predictions(tokens, _tls(server))
    try:
        predictions.connect(joined(await resolve([server.address])))
        await predictions.ping(WAIT_SECONDS)
    except EngineUnavailable as error:
        raise _refusal(error) from error
    finally:
        await predictions.aclose()


def _tls(server: Server) -> Tls | None:
    if server.tls_name is None:
        return None
    return Tls(server.tls_ca.read_bytes() if server.tls_ca else None, server.tls_name)


def _refusal(error: EngineUnavailable) -> Unreached:
    cause = error.__cause__
    code = cause.code() if isinstance(cause, grpc.aio.AioRpcError) else grpc.StatusCode.UNAVAILABLE
    if code is grpc.StatusCode.PERMISSION_DENIED:
        advice = "Give the token that this TorchServe has now, its key_file.json: --torchserve-token-file."
        return Unreached("it refuses the token, or wants one", advice)
    advice = "Name TorchServe's gRPC inference port (7070), and --torchserve-tls where it speaks TLS."
    return Unreached(f"something listens there, and gRPC says {code.name}", advice)
