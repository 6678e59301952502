"""What the doctor says of TLS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seqserve.doctor.certificates import check_certificate
from seqserve.doctor.finding import Finding
from seqserve.settings import Settings
from support.certificates import Authority, Pair

A_YEAR = timedelta(days=365)
NAMES = ("gateway.example", "127.0.0.1", "*.pods.example")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.made()


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue(names=NAMES, valid_for=A_YEAR)


def look(pair: Pair, folder: Path, **changes: object) -> list[Finding]:
    key, certificate = pair.write(folder)
    settings = {"tls_key": key, "tls_certificate": certificate} | changes
    return check_certificate(Settings.model_validate(settings), datetime.now(UTC))


def test_without_tls_nothing_is_looked_at() -> None:
    [finding] = check_certificate(Settings())
    assert (finding.status, finding.found) == ("ok", "not used: gRPC and HTTP are plaintext")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "Gateway.example", "one.pods.example"])
def test_a_sound_one_is_told_with_its_names(tmp_path: Path, pair: Pair, host: str) -> None:
    [finding] = look(pair, tmp_path, host=host)
    assert finding.status == "ok"
    assert finding.found.startswith("for gateway.example, *.pods.example, 127.0.0.1 until 20")


@pytest.mark.parametrize("host", ["192.0.2.7", "other.example", "a.b.pods.example"])
def test_a_host_that_it_is_not_for_is_a_warning(tmp_path: Path, pair: Pair, host: str) -> None:
    [finding] = look(pair, tmp_path, host=host)
    assert finding.status == "warning"
    assert f"not for {host}" in finding.found


@pytest.mark.parametrize(
    ("days", "told"),
    [
        ((-2, 1), ("fault", "expired at")),
        ((1, 2), ("fault", "not valid before")),
        ((-1, 30), ("warning", "expires at")),
    ],
    ids=["expired", "not yet valid", "soon"],
)
def test_the_time_that_is_left(
    tmp_path: Path, authority: Authority, days: tuple[int, int], told: tuple[str, str]
) -> None:
    start, length = (timedelta(days=each) for each in days)
    [finding] = look(authority.issue(not_before=datetime.now(UTC) + start, valid_for=length), tmp_path)
    assert finding.status == told[0]
    assert told[1] in finding.found


def test_one_that_names_no_host_is_a_fault(tmp_path: Path, authority: Authority) -> None:
    [finding] = look(authority.issue("gateway.example", [], valid_for=A_YEAR), tmp_path)
    assert (finding.status, finding.found) == ("fault", "the certificate names no host")


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        (0o644, "is open to every user of this machine (mode 0644)"),
        (0o602, "is open to every user of this machine (mode 0602)"),
        (0o660, "may be written by its group (mode 0660)"),
        (0o620, "may be written by its group (mode 0620)"),
    ],
)
def test_a_key_that_everybody_may_read_or_a_group_write_is_a_warning(
    tmp_path: Path, pair: Pair, mode: int, found: str
) -> None:
    key, certificate = pair.write(tmp_path)
    key.chmod(mode)
    [finding] = check_certificate(Settings(tls_key=key, tls_certificate=certificate), datetime.now(UTC))
    assert (finding.status, finding.found) == ("warning", f"{key} {found}")
    assert f"chmod 600 {key}" in finding.advice


def test_a_key_that_a_group_may_read_is_fine(tmp_path: Path, pair: Pair) -> None:
    """As packages of TLS keys (ssl-cert) and orchestrators (fsGroup) have it."""
    key, certificate = pair.write(tmp_path)
    key.chmod(0o640)
    [finding] = check_certificate(Settings(tls_key=key, tls_certificate=certificate), datetime.now(UTC))
    assert finding.status == "ok"


def test_what_serve_would_refuse_is_a_fault(tmp_path: Path, pair: Pair, authority: Authority) -> None:
    [finding] = look(Pair(authority.issue().key, pair.certificate), tmp_path)
    assert finding.status == "fault"
    assert "it is not the key of" in finding.found


def test_a_chain_in_another_order_is_a_warning(tmp_path: Path, pair: Pair, authority: Authority) -> None:
    [good] = look(Pair(pair.key, pair.certificate + authority.pem), tmp_path)
    [bad] = look(Pair(pair.key, pair.certificate + Authority.made().pem), tmp_path)
    assert (good.status, bad.status) == ("ok", "warning")
    assert "CN=seqserve is not signed by" in bad.found
