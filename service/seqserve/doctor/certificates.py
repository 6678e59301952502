"""The gateway's certificate: whether it can be used, for how long, for whom, and whether its key is open."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from shlex import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from seqserve.certificates import TlsFiles, identity_of
from seqserve.doctor.finding import Finding, fault, not_used, or_ok, warning
from seqserve.errors import SettingsInvalid
from seqserve.settings import Settings

CHECK = "tls"
SOON = timedelta(days=30)
RENEW = "Renew it and replace both files; a running gateway takes them up by itself"


def check_certificate(settings: Settings, now: datetime | None = None) -> list[Finding]:
    """Read and check the files as `serve` would. now: None for the time of day."""
    if settings.tls_key is None or settings.tls_certificate is None:
        return [not_used(CHECK, "gRPC and HTTP are plaintext")]
    files = TlsFiles(settings.tls_key, settings.tls_certificate, settings.tls_client_ca)
    try:
        chain = identity_of(files).chain
    except SettingsInvalid as error:
        return [fault(CHECK, str(error), "Correct the file, or name another one; docs/tls.md shows how.")]
    own, names = chain[0], _names(chain[0])
    findings = [
        *_time(own, now or datetime.now(UTC)),
        *_open_key(files.key),
        *_order(chain),
        *_host(settings.host, names),
    ]
    until = own.not_valid_after_utc.date().isoformat()
    return or_ok(findings, CHECK, f"for {', '.join(names)} until {until}")


def _time(own: x509.Certificate, now: datetime) -> Iterator[Finding]:
    start, end = own.not_valid_before_utc, own.not_valid_after_utc
    if now > end:
        yield fault(CHECK, f"the certificate expired at {end.isoformat()}", f"{RENEW}.")
    elif now < start:
        found = f"the certificate is not valid before {start.isoformat()}"
        yield fault(CHECK, found, "Wait, or correct the clock of this machine or of its issuer.")
    elif end - now < SOON:
        yield warning(CHECK, f"the certificate expires at {end.isoformat()}", f"{RENEW}.")


def _open_key(key: Path) -> Iterator[Finding]:
    """A group that may read it is as intended: ssl-cert on Debian, fsGroup in Kubernetes."""
    mode = stat.S_IMODE(key.stat().st_mode)
    found = ""
    if mode & stat.S_IRWXO:
        found = "is open to every user of this machine"
    elif mode & stat.S_IWGRP:
        found = "may be written by its group"
    if found:
        found = f"{key} {found} (mode {mode:04o})"
        advice = f"Close it: chmod 600 {quote(str(key))}; in Kubernetes defaultMode: 0400."
        yield warning(CHECK, found, advice)


def _order(chain: tuple[x509.Certificate, ...]) -> Iterator[Finding]:
    """Clients follow the chain as it is sent; many find no way through one in another order."""
    for one, issuer in pairwise(chain):
        try:
            one.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            found = f"{one.subject.rfc4514_string()} is not signed by the certificate that follows it"
            yield warning(CHECK, found, "Put the gateway's own first, then who signed it, and so on.")


def _host(host: str, names: list[str]) -> Iterator[Finding]:
    if not names:
        advice = "Have one issued with subjectAltName: clients do not look at the common name any more."
        yield fault(CHECK, "the certificate names no host", advice)
    elif not _is_any(host) and not any(_covers(name, host) for name in names):
        found = f"the certificate is for {', '.join(names)}, and not for {host}, where the gateway listens"
        yield warning(CHECK, found, "See that clients use one of those names, or add this one.")


def _names(own: x509.Certificate) -> list[str]:
    try:
        found = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(each) for each in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _is_any(host: str) -> bool:
    """Whether it is all addresses of a machine: then nobody knows here by which name it is called."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _covers(name: str, host: str) -> bool:
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    return name.lower() == host.lower()
