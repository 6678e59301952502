"""TLS of the HTTP port, with the certificate in use at each handshake."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Self

from seqserve.certificates import Certificates
from seqserve.http_api.connection import REPLY_SECONDS


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates, and how long a caller may take to shake hands."""

    certificates: Certificates
    handshake_seconds: float

    def options(self) -> dict[str, Any]:
        """Of asyncio's create_server."""
        return {
            "ssl": _CurrentContext.of(self.certificates),
            "ssl_handshake_timeout": self.handshake_seconds,
            "ssl_shutdown_timeout": REPLY_SECONDS,  # it counts from when the last answer begins to leave
        }


class _CurrentContext(ssl.SSLContext):
    """Hands each connection to the context of the certificate in use.

    So sessions end with the certificate that they began with. A context that changed its certificates in
    place would take them up again, and never ask for the certificate of a client whose CA is gone.
    """

    _certificates: Certificates

    @classmethod
    def of(cls, certificates: Certificates) -> Self:
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context._certificates = certificates  # ssl's constructor takes no more arguments
        return context

    def wrap_bio(self, *buffers: Any, **options: Any) -> ssl.SSLObject:
        """Called by asyncio for each connection."""
        return self._certificates.current().context.wrap_bio(*buffers, **options)
