"""Whose attestations count: the trusted keys, how they are read, and what others may not be able to do to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from seqserve.archive import read_archive
from seqserve.errors import SettingsInvalid
from seqserve.trust import Trust
from seqserve.trusted_keys import read_trusted_keys, stamp_of_keys
from support.archives import make_archive
from support.attesting import Signer, attest, refusal, trusting

RELEASE, NEXT = Signer(), Signer()
PRIVATE_HALF = NEXT.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return trusting(tmp_path / "trusted", release=RELEASE)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path)


def test_keys_come_from_a_file_or_from_a_folder(tmp_path: Path, trust: Trust) -> None:
    NEXT.publish(trust.keys / "next.pub")
    (trust.keys / "README").touch()
    named = {key.name: key.key_id for key in read_trusted_keys(trust.keys).values()}
    assert named == {"release": RELEASE.key_id, "next": NEXT.key_id}
    assert list(read_trusted_keys(trust.keys / "next.pub")) == [NEXT.key_id]


def test_keys_are_read_anew_for_each_archive(archive: Path, trust: Trust) -> None:
    attest(archive, NEXT)
    refusal(archive, trust)
    NEXT.publish(trust.keys / "next.pub")
    assert read_archive(archive, trust).attested_by == (NEXT.key_id,)
    (trust.keys / "next.pub").unlink()
    refusal(archive, trust)


def test_the_stamp_of_keys_changes_with_them(trust: Trust) -> None:
    stamps = [stamp_of_keys(trust.keys)]
    NEXT.publish(trust.keys / "next.pub")
    stamps.append(stamp_of_keys(trust.keys))
    (trust.keys / "next.pub").chmod(0o664)
    stamps.append(stamp_of_keys(trust.keys))
    trust.keys.parent.chmod(0o777)  # now nobody is trusted, and with the next line they are again
    stamps.append(stamp_of_keys(trust.keys))
    assert len(set(stamps)) == 4
    trust.keys.parent.chmod(0o755)
    assert stamp_of_keys(trust.keys) == stamps[2]
    assert stamp_of_keys(trust.keys / "gone") == ()


def rsa(path: Path) -> None:
    public = generate_private_key(65537, 2048).public_key()
    path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def two_keys(keys: Path) -> None:
    """The first of which is the one that everybody sees."""
    (keys / "two.pub").write_bytes(
        (keys / "release.pub").read_bytes() + NEXT.publish(keys / "next.pub").read_bytes()
    )


def a_long_key(keys: Path) -> None:
    with (keys / "release.pub").open("ab") as file:
        file.write(b"\n" * 16384 + b"what nobody would see")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda keys: rsa(keys / "other.pub"), "other.pub: it holds a key of another kind than Ed25519"),
        (lambda keys: (keys / "other.pub").write_bytes(PRIVATE_HALF),
            "other.pub: it holds a private key, which does not belong on a machine that serves"),
        (two_keys, "two.pub: it holds 2 blocks of PEM; accepted: one public key"),
        (a_long_key, "release.pub: it cannot be read: it has more than 16384 bytes"),
        (lambda keys: (keys / "other.pub").touch(), "other.pub: it holds no public key in PEM"),
        (lambda keys: (keys / "other.pub").symlink_to("release.pub"), "other.pub: it cannot be read: it is a link"),
        (lambda keys: (keys / "release.pub").chmod(0o664), "release.pub: it may be written by its group"),
        (lambda keys: (keys / "release.pub").chmod(0o646), "release.pub: it may be written by its group"),
        (lambda keys: keys.chmod(0o775), "trusted: it may be written by its group"),
        (lambda keys: keys.chmod(0o1777), "trusted: it may be written by its group"),
        (lambda keys: (keys / "release.pub").unlink(), "the folder has no NAME.pub"),
    ],
)  # fmt: skip
def test_keys_that_others_may_write_or_that_are_none_are_named_and_trust_nobody(
    archive: Path, trust: Trust, spoil: Callable[[Path], object], says: str
) -> None:
    attest(archive, RELEASE)
    spoil(trust.keys)
    with pytest.raises(SettingsInvalid) as refused:
        read_trusted_keys(trust.keys)
    assert says in str(refused.value)
    assert "nobody is trusted: trusted_keys: " in str(refusal(archive, trust))


def test_a_folder_of_too_many_keys_is_refused_before_one_is_read(trust: Trust) -> None:
    for number in range(63):
        Signer().publish(trust.keys / f"{number}.pub")
    assert len(read_trusted_keys(trust.keys)) == 64
    (trust.keys / "0.pub").write_text("no key")
    (trust.keys / "one-more.pub").touch()
    with pytest.raises(SettingsInvalid, match="trusted: the folder has 65 keys; at most 64 are taken"):
        read_trusted_keys(trust.keys)


def test_a_key_that_is_named_must_not_lie_where_others_may_replace_it(trust: Trust) -> None:
    trust.keys.chmod(0o777)
    with pytest.raises(SettingsInvalid, match="trusted: it may be written"):
        read_trusted_keys(trust.keys / "release.pub")


def test_the_folder_of_keys_cannot_be_replaced_by_who_may_write_one_above_it(
    tmp_path: Path, archive: Path
) -> None:
    """`trusted` renamed away, and one with a key of theirs, or a link to it, put in its place."""
    above = tmp_path / "above"
    above.mkdir()
    trust = trusting(above / "trusted", release=RELEASE)
    attest(archive, RELEASE)
    above.chmod(0o777)
    with pytest.raises(SettingsInvalid, match=r"^trusted_keys: .*/above: it may be written by") as refused:
        read_trusted_keys(trust.keys)
    assert refused.value.hint == f"close it: chmod go-w {above}"
    assert "nobody is trusted" in str(refusal(archive, trust))
    above.chmod(0o1777)  # as /tmp: there only who owns `trusted` may rename it
    assert read_archive(archive, trust).attested_by == (RELEASE.key_id,)
