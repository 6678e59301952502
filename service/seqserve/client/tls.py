"""How a client proves who the gateway is and, where the gateway wants it, who it is itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import grpc

from seqserve.client.files import read_file


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to a gateway; every part is PEM, as bytes or as the file with them.

    ca: who may have signed the gateway's certificate; None: those that gRPC brings along.
    certificate, key: this client's own, for a gateway that wants one; they go together.
    server_name: the name that the gateway's certificate must have; "": the host of the address.
    Raises ValueError where one of certificate and key is missing.
    """

    ca: bytes | Path | None = None
    certificate: bytes | Path | None = None
    key: bytes | Path | None = field(default=None, repr=False)
    server_name: str = ""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("tls: certificate and key go together")

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC takes. Raises OSError for files that cannot be read."""
        return grpc.ssl_channel_credentials(_pem(self.ca), _pem(self.key), _pem(self.certificate))

    def channel_options(self) -> list[tuple[str, int | str]]:
        """What a channel has to know beside the credentials."""
        return [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []


def _pem(source: bytes | Path | None) -> bytes | None:
    return read_file(source) if isinstance(source, Path) else source
