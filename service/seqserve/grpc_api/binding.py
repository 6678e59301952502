"""How gRPC's servers come to listen on an address."""

from __future__ import annotations

import socket

import grpc

from seqserve.certificates import Certificates, Identity
from seqserve.errors import AddressInUse


def listen(
    server: grpc.Server | grpc.aio.Server,
    host: str,
    port: int,
    setting: str,
    certificates: Certificates | None = None,
) -> int:
    """Bind a server that starts later to a port (a free one for 0); return it. Raises AddressInUse.

    setting: what the port is called where it is taken. certificates: None for plaintext.
    """
    address = address_of(host, port)
    try:
        try_to_bind(host, port)
        if certificates is not None:
            return server.add_secure_port(address, _credentials(certificates))
        return server.add_insecure_port(address)
    except (OSError, RuntimeError) as error:
        raise address_in_use(setting, host, port, error) from error


def address_of(host: str, port: int) -> str:
    """As gRPC wants it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_in_use(setting: str, host: str, port: int, error: Exception) -> AddressInUse:
    """What is told where gRPC cannot listen. setting: what the port is called."""
    reason = getattr(error, "strerror", None) or "gRPC refuses it"
    return AddressInUse(
        f"{setting}: cannot listen on {address_of(host, port)}: {reason}",
        hint=f"choose another with --{setting.replace('_', '-')}; 0 takes a free one",
    )


def try_to_bind(host: str, port: int) -> None:
    """Raise OSError that says why not; gRPC would write lines of its own to standard error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))


def _credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Of the identity in use; gRPC asks for a new one at each handshake, in threads of its own."""
    given = certificates.current()

    def news() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        current = certificates.current()
        if current is given:
            return None
        given = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        news,  # type: ignore[arg-type]  # None is that nothing has changed, see the function's docs
        require_client_authentication=given.client_ca_pem is not None,
    )


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    pairs = [(identity.key_pem, identity.chain_pem)]
    return grpc.ssl_server_certificate_configuration(pairs, root_certificates=identity.client_ca_pem)
