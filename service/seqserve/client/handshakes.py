"""Why a connection came to nothing although somebody listens, in words.

gRPC tells it in one long line whose wording is OpenSSL's or its own. A server that does not like a
client's certificate, and one that hears plaintext where it expects TLS, hang up without a reason.
"""

from __future__ import annotations

import re

from seqserve.client.tls import Tls

NOT_CONNECTED = "connections to all backends failing"
"""So it begins where calls take turns over the addresses of a name, be it one or many."""
CLOSED = r"Socket closed|Connection reset|Broken pipe"
WITHOUT_TLS = {CLOSED: "it closed the connection; perhaps it ends, is full, or speaks TLS there"}
WITH_TLS = {
    r"CERTIFICATE_VERIFY_FAILED: ([^:]+)": "its certificate is not trusted: {0}",
    r"Hostname Verification Check failed": "its certificate is for another name than {name}",
    r"WRONG_VERSION_NUMBER": "it speaks no TLS there",
    r"ALPN": "it speaks TLS there, but no gRPC",
    r"Failed to create security handshaker": (
        "the certificates given here cannot be used: no PEM, or a key that is not the certificate's"
    ),
    r"ALERT_(\w+)": "it refuses the TLS handshake: {0}",
    CLOSED: "it closed the connection; perhaps it {wants}",
}


def handshake_fault(details: str, address: str, tls: Tls | None) -> str:
    """What failed, or "" for all that has nothing to do with TLS. details: what gRPC says."""
    if NOT_CONNECTED not in details:
        return ""
    for pattern, words in (WITH_TLS if tls else WITHOUT_TLS).items():
        if found := re.search(pattern, details):
            said = words.format(*found.groups(), name=_name(address, tls), wants=_wants(tls))
            return f"{address}: {said}"
    return ""


def _name(address: str, tls: Tls | None) -> str:
    """What the certificate had to have."""
    return tls.server_name if tls and tls.server_name else address.rpartition(":")[0]


def _wants(tls: Tls | None) -> str:
    """What a gateway hangs up for, over TLS, without saying so."""
    has_one = tls is not None and tls.certificate is not None
    return "does not accept this client's certificate" if has_one else "wants a client's certificate"
