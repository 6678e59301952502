"""What is asked of an archive: by whom it must be attested, whose keys count, and who may write them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqserve.archive import claimed_signatures, read_archive
from seqserve.errors import SettingsInvalid
from seqserve.regular_file import read_regular
from seqserve.settings_reading import read_settings
from seqserve.trust import UNCHECKED, Trust, Verdict, attestation_path
from seqserve.trust_setup import check_trust, trust_of
from support.archives import make_archive, write_sidecar
from support.attesting import (
    Signer,
    attest,
    envelope_of,
    put_envelope,
    refusal,
    statement_of,
    trusting,
)

RELEASE, NEXT, FOREIGN = Signer(), Signer(), Signer()


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return trusting(tmp_path / "trusted", release=RELEASE)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path)


# ---- attestations ----


def test_an_attested_archive_names_the_keys_that_attest_it(tmp_path: Path, archive: Path) -> None:
    trust = trusting(tmp_path / "trusted", release=RELEASE, next=NEXT)
    attest(archive, FOREIGN, NEXT)
    assert read_archive(archive, trust).attested_by == (NEXT.key_id,)
    attest(archive, RELEASE, FOREIGN, NEXT)
    found = read_archive(archive, trust)
    assert found.attested_by == tuple(sorted([RELEASE.key_id, NEXT.key_id]))
    assert found.doubt == ""


def test_without_an_attestation_it_is_refused_with_what_to_do(archive: Path, trust: Trust) -> None:
    error = refusal(archive, trust)
    assert "there is no tiny-1.mar.sig beside it" in str(error)
    assert "seqserve attest tiny-1.mar" in error.hint


def broken(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], dict[str, Any] | bytes]:
    """A sound envelope, changed."""

    def make(archive: Path) -> dict[str, Any]:
        envelope = envelope_of(statement_of(archive), RELEASE)
        change(envelope)
        return envelope

    return make


def flipped(envelope: dict[str, Any]) -> None:
    signature = envelope["signatures"][0]["sig"]
    envelope["signatures"][0]["sig"] = ("B" if signature[0] == "A" else "A") + signature[1:]


def said(**changes: Any) -> Callable[[Path], dict[str, Any] | bytes]:
    """An envelope that the trusted key has signed, of a changed statement."""
    return lambda archive: envelope_of(statement_of(archive, **changes), RELEASE)


def of_other_bytes(archive: Path) -> dict[str, Any]:
    """What was swapped with another archive of the same name."""
    elsewhere = archive.parent / "elsewhere"
    elsewhere.mkdir()
    other = make_archive(elsewhere, replace={"tiny.pt": b"another model"})
    return envelope_of(statement_of(other), RELEASE)


def twice(archive: Path) -> bytes:
    whole = json.dumps(envelope_of(statement_of(archive), RELEASE)).encode()
    return whole.replace(b'{"payloadType"', b'{"payload": "", "payloadType"', 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: b"", "no DSSE envelope"),
        (lambda _: b"signed, believe me", "no DSSE envelope"),
        (lambda _: b"[" * 60_000, "no DSSE envelope"),
        (lambda _: b"{" + b" " * 70_000, "tiny-1.mar.sig cannot be read: it has more than 65536 bytes"),
        (twice, "no DSSE envelope"),
        (broken(lambda one: one.update(payloadType="text/plain")), "payload type text/plain"),
        (broken(lambda one: one.update(signatures=[])), "has no signature"),
        (broken(flipped), "no signature of the attestation verifies with a trusted key"),
        (lambda archive: envelope_of(statement_of(archive), FOREIGN), f"by a trusted key: {FOREIGN.key_id}"),
        (lambda archive: envelope_of(statement_of(archive), RELEASE)
            | {"signatures": [FOREIGN.sign(statement_of(archive)) | {"keyid": RELEASE.key_id}]}, "verifies"),
        (lambda archive: envelope_of(statement_of(archive))
            | {"signatures": [RELEASE.sign(b"something else")]}, "verifies"),
        (of_other_bytes, "is for other bytes: SHA-256"),
        (said(predicate={"name": "other", "version": "1"}), "is for name other, not tiny"),
        (said(predicate={"name": "tiny", "version": "2"}), "is for version 2, not 1"),
        (said(predicate=None), "is for name None, not tiny"),
        (said(_type="https://in-toto.io/Statement/v0.1"), "no attestation of an archive"),
        (said(predicateType="https://slsa.dev/provenance/v1"), "no attestation of an archive"),
        (said(subject=[]), "not for one file"),
        (lambda _: envelope_of(b"[" * 40_000, RELEASE), "no statement in JSON"),
    ],
)  # fmt: skip
def test_each_way_in_which_an_attestation_can_be_wrong_is_a_refusal_with_its_reason(
    archive: Path, trust: Trust, make: Callable[[Path], dict[str, Any] | bytes], says: str
) -> None:
    put_envelope(archive, make(archive))
    error = refusal(archive, trust)
    assert says in str(error)
    assert error.hint == (
        "copy the .sig that was made for this file, or have it attested with one of: "
        f"release ({RELEASE.key_id[:8]}…)"
    )


def test_what_a_signed_statement_says_is_quoted_short_and_without_control_characters(
    archive: Path, trust: Trust
) -> None:
    put_envelope(archive, said(predicate={"name": "x\n\x1b[2J" + "y" * 500, "version": "1"})(archive))
    words = str(refusal(archive, trust))
    assert "\n" not in words
    assert "\x1b" not in words
    assert len(words) < 200


def test_an_archive_under_another_version_is_refused_though_its_bytes_are_attested(
    archive: Path, trust: Trust
) -> None:
    attest(archive, RELEASE)
    newer = archive.rename(archive.with_name("tiny-2.mar"))
    attestation_path(archive).rename(attestation_path(newer))
    write_sidecar(newer)
    assert "is for version 1, not 2" in str(refusal(newer, trust))


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_an_attestation_is_a_regular_file(archive: Path, trust: Trust, kind: str) -> None:
    path = attest(archive, RELEASE)
    moved = path.rename(archive.parent / "moved")
    if kind == "link":
        path.symlink_to(moved)
    else:
        os.mkfifo(path)
    error = refusal(archive, trust)
    assert "tiny-1.mar.sig cannot be read: it is" in str(error)
    assert error.hint.startswith("copy the .sig that was made for this file")


def test_any_byte_that_is_flipped_takes_the_attestation_away(archive: Path, trust: Trust) -> None:
    attest(archive, RELEASE)
    whole = archive.read_bytes()
    for position in range(0, len(whole), 11):
        changed = bytearray(whole)
        changed[position] ^= 1
        archive.write_bytes(changed)
        write_sidecar(archive)
        assert "is for other bytes" in str(refusal(archive, trust))


def test_nothing_of_an_archive_is_parsed_before_it_is_trusted(archive: Path, trust: Trust) -> None:
    archive.write_bytes(b"no zip at all")
    write_sidecar(archive)
    assert "there is no tiny-1.mar.sig" in str(refusal(archive, trust))


def test_only_attested_archives_say_what_they_take(tmp_path: Path, archive: Path, trust: Trust) -> None:
    other = make_archive(tmp_path, "other")
    attest(archive, RELEASE)
    paths = [archive, other]
    assert [one.name for one in claimed_signatures(paths, trust)] == ["tiny"]
    assert [one.name for one in claimed_signatures(paths, UNCHECKED)] == ["tiny", "other"]


# ---- the policy ----


def test_warn_takes_an_archive_with_a_doubt(archive: Path, trust: Trust) -> None:
    lenient = Trust("warn", trust.keys)
    found = read_archive(archive, lenient)
    assert found.attested_by == ()
    assert "there is no tiny-1.mar.sig beside it" in found.doubt
    attest(archive, RELEASE)
    assert read_archive(archive, lenient).doubt == ""


def test_a_doubt_is_told_in_few_plain_characters_as_a_refusal_is(archive: Path, tmp_path: Path) -> None:
    attest(archive, RELEASE)
    keys = tmp_path / ("k\x1b[2J" * 30) / ("k" * 250)
    doubt = read_archive(archive, Trust("warn", keys)).doubt
    assert doubt.startswith("nobody is trusted: trusted_keys: ")
    assert len(doubt) <= 400
    assert doubt.isprintable()


def test_off_looks_at_nothing(archive: Path) -> None:
    put_envelope(archive, b"nonsense")
    found = read_archive(archive, Trust("off", Path("/nowhere")))
    assert (found.attested_by, found.doubt) == ((), "")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("flags", "policy"),
    [
        ({}, "off"),
        ({"trusted_keys": "keys"}, "require"),
        ({"trusted_keys": "keys", "attestation": "warn"}, "warn"),
        ({"trusted_keys": "keys", "attestation": "off"}, "off"),
    ],
)
def test_trusted_keys_are_required_unless_told_otherwise(flags: dict[str, Any], policy: str) -> None:
    assert trust_of(read_settings(flags)).policy == policy


# ---- the start ----


def checked(store: Path, trust: Trust, **flags: Any) -> None:
    check_trust(read_settings({"model_store": store, "trusted_keys": trust.keys, **flags}))


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_store_that_others_may_write_is_refused_with_the_command_that_closes_it(
    tmp_path: Path, trust: Trust, mode: int
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    store.chmod(mode)
    with pytest.raises(SettingsInvalid, match=rf"store may be written .*\(mode {mode:04o}\)") as refused:
        checked(store, trust)
    assert refused.value.hint == f"close it: chmod go-w {store}"
    checked(store, trust, attestation="warn")
    store.chmod(0o755)
    checked(store, trust)


@pytest.mark.usefixtures("environment")
def test_a_store_below_a_folder_that_others_may_write_is_refused(tmp_path: Path, trust: Trust) -> None:
    store = tmp_path / "above" / "store"
    store.mkdir(parents=True)
    store.chmod(0o755)
    store.parent.chmod(0o777)
    with pytest.raises(SettingsInvalid, match=r"^model_store: .*/above may be written") as refused:
        checked(store, trust)
    assert refused.value.hint == f"close it: chmod go-w {store.parent}"


@pytest.mark.usefixtures("environment")
def test_a_store_of_somebody_else_is_refused(
    tmp_path: Path, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o755)
    RELEASE.publish(trust.keys / "release.pub")
    monkeypatch.setattr("seqserve.ownership.ROOT", -1)
    monkeypatch.setattr("os.geteuid", lambda: store.stat().st_uid + 1)
    with pytest.raises(SettingsInvalid, match=r"belongs to user .*, who is neither root nor this one"):
        checked(store, trust)


@pytest.mark.usefixtures("environment")
def test_keys_that_cannot_be_read_are_found_at_the_start(tmp_path: Path, trust: Trust) -> None:
    with pytest.raises(SettingsInvalid, match=r"trusted_keys: .*gone\.pub: it cannot be read: No such file"):
        checked(tmp_path, Trust("require", trust.keys / "gone.pub"))


@pytest.mark.usefixtures("environment")
def test_torchserves_of_others_must_be_trusted_as_such(tmp_path: Path, trust: Trust) -> None:
    external = {"engine": "torchserve", "torchserve_address": "127.0.0.1:7070"}
    with pytest.raises(SettingsInvalid, match="what those TorchServes run is not checked") as refused:
        checked(tmp_path, trust, **external)
    assert "--trust-external" in refused.value.hint
    checked(tmp_path, trust, **external, trust_external=True)
    checked(tmp_path, trust, **external, attestation="warn")


def test_nothing_of_a_file_is_read_and_hashed_where_no_attestation_lies_beside_it(
    archive: Path, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have 1 GiB, and whoever writes the store may put many there."""
    read: list[Path] = []

    def reading(path: Path, max_bytes: int) -> bytes:
        read.append(path)
        return read_regular(path, max_bytes)

    monkeypatch.setattr("seqserve.archive.read_regular", reading)
    for envelope, says in ((None, "there is no tiny-1.mar.sig"), (b"signed, believe me", "no DSSE envelope")):
        if envelope is not None:
            put_envelope(archive, envelope)
        assert says in str(refusal(archive, trust))
        assert claimed_signatures([archive], trust) == []
        assert read == []
    read_archive(archive, Trust("warn", trust.keys))
    assert archive in read


def test_a_sparse_file_is_refused_by_its_size_alone(archive: Path, trust: Trust) -> None:
    attest(archive, RELEASE)
    with archive.open("r+b") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(Exception, match="the file cannot be read: it has more than 1073741824 bytes"):
        read_archive(archive, trust)


def test_what_was_attested_is_what_is_read_though_the_file_changes(
    archive: Path, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    attest(archive, RELEASE)
    attested, judge = archive.read_bytes(), Trust.judge

    def judge_and_swap(self: Trust, path: Path, *given: Any) -> Verdict:
        """Between the look and the use, somebody who writes the store puts a sound archive of theirs there."""
        verdict = judge(self, path, *given)
        make_archive(path.parent, replace={"tiny.pt": b"another model"})
        return verdict

    monkeypatch.setattr(Trust, "judge", judge_and_swap)
    found = read_archive(archive, trust)

    assert archive.read_bytes() != attested
    assert found.content == attested
    assert found.sha256 == hashlib.sha256(attested).hexdigest()
    assert b"another model" not in found.torchscript
