"""What the doctor says of trusted keys, of who may write them and the store, and of others' TorchServes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqserve.doctor.finding import Finding
from seqserve.doctor.trust import check_trust
from seqserve.settings_reading import read_settings
from support.attesting import Signer, trusting

pytestmark = pytest.mark.usefixtures("environment")

RELEASE = Signer()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return trusting(tmp_path / "trusted", release=RELEASE).keys


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o755)
    return folder


def trust(**flags: Any) -> list[Finding]:
    return check_trust(read_settings(flags))


def test_without_keys_nothing_is_looked_at(store: Path) -> None:
    [finding] = trust(model_store=store)
    assert (finding.status, finding.found) == (
        "ok", "not used: archives are taken from whoever can write the store"
    )  # fmt: skip


def test_who_is_trusted_is_told(store: Path, keys: Path) -> None:
    [finding] = trust(model_store=store, trusted_keys=keys)
    assert finding.status == "ok"
    assert finding.found == f"archives must be attested by one of: release ({RELEASE.key_id})"


@pytest.mark.parametrize(("policy", "status"), [("require", "fault"), ("warn", "warning")])
def test_a_store_that_others_may_write_is_told_with_what_closes_it(
    store: Path, keys: Path, policy: str, status: str
) -> None:
    store.chmod(0o777)
    [finding] = trust(model_store=store, trusted_keys=keys, attestation=policy)
    assert finding.status == status
    assert "may be written by its group or by others (mode 0777)" in finding.found
    assert finding.advice == f"Close it: chmod go-w {store}."


def test_keys_that_others_may_write_are_a_fault(store: Path, keys: Path) -> None:
    (keys / "release.pub").chmod(0o666)
    [finding] = trust(model_store=store, trusted_keys=keys)
    assert finding.status == "fault"
    assert "release.pub: it may be written" in finding.found
    assert finding.advice == f"Close it: chmod go-w {keys / 'release.pub'}."


def test_private_halves_do_not_belong_beside_trusted_keys(store: Path, keys: Path) -> None:
    key = keys / "release.key"
    key.touch()
    [finding] = trust(model_store=store, trusted_keys=keys)
    assert finding.status == "warning"
    assert finding.found == f"{key}, by its name a private key, does not belong on a machine that serves"
    assert finding.advice == "Move it to where you build; a gateway needs public halves alone."


def test_a_store_that_is_not_there_is_left_to_its_own_check(tmp_path: Path, keys: Path) -> None:
    assert [one.status for one in trust(model_store=tmp_path / "gone", trusted_keys=keys)] == ["ok"]


def test_torchserves_of_others_are_a_fault_unless_they_are_trusted_as_such(store: Path, keys: Path) -> None:
    flags = {
        "model_store": store, "trusted_keys": keys,
        "engine": "torchserve", "torchserve_address": "127.0.0.1:7070",
    }  # fmt: skip
    [finding] = trust(**flags)
    assert finding.status == "fault"
    assert "--trust-external" in finding.advice
    assert [one.status for one in trust(**flags, trust_external=True)] == ["ok"]
