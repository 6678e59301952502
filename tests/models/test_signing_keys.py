"""Keys to attest with: made once, read only where their owner alone may, and as openssl has them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from seqserve_models.errors import FileExists, SettingInvalid, SigningKeyUnusable, StoreUnwritable
from seqserve_models.signing_keys import ListedKey, list_keys, make_key, read_signing_key
from support.command import Ended, seqserve

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def openssl(*arguments: str | Path, content: bytes | None = None) -> bytes:
    done = subprocess.run(["openssl", *arguments], input=content, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def keys(*arguments: str) -> Ended:
    return seqserve("keys", *arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of keys, one of them."""
    make_key("release", tmp_path / "keys")
    return tmp_path / "keys"


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_private_half_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        made = make_key("release", tmp_path / "new" / "keys")
    finally:
        os.umask(before)
    assert (mode(made.private.parent), mode(made.private)) == (0o700, 0o600)
    assert mode(made.public) == 0o644 & ~umask
    assert {path.name for path in made.private.parent.iterdir()} == {"release.key", "release.pub"}
    key = read_signing_key(made.private)
    assert key.key_id == made.key_id
    assert made.key_id in str(key)
    assert "Private" not in str(key)


def test_two_keys_are_two(folder: Path) -> None:
    assert make_key("next", folder).key_id != read_signing_key(folder / "release.key").key_id


@pytest.mark.parametrize("there", ["release.key", "release.pub"])
def test_what_is_there_is_never_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("dear")
    with pytest.raises(FileExists, match=f"{there} is there already"):
        make_key("release", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "dear"


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "release.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExists):
        make_key("release", tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 65, "a\n", "a b", "-k"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingInvalid, match="name "):
        make_key(name, tmp_path / "keys")
    assert not (tmp_path / "keys").exists()


def test_a_folder_in_which_others_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(SigningKeyUnusable, match="may be written by others"):
        make_key("release", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    with pytest.raises((FileExists, StoreUnwritable)):
        make_key("release", tmp_path / "keys")


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_private_key_that_is_open_to_others_is_refused(folder: Path, bits: int) -> None:
    (folder / "release.key").chmod(bits)
    with pytest.raises(SigningKeyUnusable, match="may be read by others") as caught:
        read_signing_key(folder / "release.key")
    assert caught.value.hint == f"chmod 600 {folder / 'release.key'}"


def test_the_public_half_does_not_attest(folder: Path) -> None:
    """Everybody may read it, and nobody should be told to change that."""
    with pytest.raises(SigningKeyUnusable, match=r"release\.pub is the public half") as caught:
        read_signing_key(folder / "release.pub")
    assert "chmod" not in caught.value.hint
    assert str(folder / "release.key") in caught.value.hint


def test_a_secret_that_is_mounted_as_a_link_is_read(folder: Path) -> None:
    (folder / "mounted").symlink_to("release.key")
    assert read_signing_key(folder / "mounted").key_id == read_signing_key(folder / "release.key").key_id


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no private key in PEM"),
        ("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "holds no private key in PEM"),
        ("x" * 16385, "longer than any key"),
    ],
)
def test_a_file_that_holds_no_usable_key_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "x.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SigningKeyUnusable, match=says) as caught:
        read_signing_key(path)
    assert "c2VjcmV0" not in str(caught.value)


def test_a_key_with_a_passphrase_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "x.key"
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    path.write_bytes(locked)
    path.chmod(0o600)
    with pytest.raises(SigningKeyUnusable, match="needs a passphrase"):
        read_signing_key(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, says in (("pipe", "not a regular file"), (".", "not a regular file"), ("gone", "No such file")):
        with pytest.raises(SigningKeyUnusable, match=says):
            read_signing_key(tmp_path / path)


def test_the_list_says_what_is_there_and_what_is_wrong(folder: Path) -> None:
    ids = {name: make_key(name, folder).key_id for name in ("alone", "mixed", "public", "open", "broken")}
    (folder / "alone.pub").unlink()
    (folder / "public.key").unlink()
    shutil.copy(folder / "release.key", folder / "mixed.key")
    (folder / "open.pub").chmod(0o666)
    (folder / "broken.pub").write_text("no key")
    (folder / "broken.key").unlink()
    (folder / "notes.txt").touch()
    release = read_signing_key(folder / "release.key").key_id

    listed = {key.name: key for key in list_keys(folder)}

    assert listed["release"] == ListedKey("release", release, fits=True)
    assert listed["public"] == ListedKey("public", ids["public"], fits=None)
    assert (listed["alone"].key_id, listed["alone"].fits) == (ids["alone"], True)
    assert "alone.pub is missing (openssl pkey" in listed["alone"].fault
    assert (listed["mixed"].key_id, listed["mixed"].fits) == (ids["mixed"], False)
    assert f"private half of another key, {release}" in listed["mixed"].fault
    assert (listed["open"].key_id, listed["open"].fits) == (ids["open"], True)
    assert "open.pub may be written by others" in listed["open"].fault
    assert (listed["broken"].key_id, listed["broken"].fits) == ("", None)
    assert "broken.pub holds no public key in PEM" in listed["broken"].fault
    assert "notes" not in listed


def test_the_command_tells_where_the_halves_lie_and_what_to_do_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = keys("new", "release")
    assert (ended.status, ended.errors) == (0, "")
    key_id = read_signing_key(Path("keys/release.key")).key_id
    for words in (key_id, "--signing-key keys/release.key", "--trusted-keys keys/release.pub"):
        assert words in ended.output
    assert Path("keys/release.key").read_text().splitlines()[1] not in ended.output

    listed = keys("list")
    assert (listed.status, listed.errors) == (0, "")
    assert f"release {key_id} yes" in " ".join(listed.output.split())

    again = keys("new", "release")
    assert again.status == 2
    assert "keys/release.key is there already" in again.one_line


def test_a_list_shows_faults_and_nothing_that_a_terminal_obeys(folder: Path) -> None:
    (folder / "release.key").chmod(0o644)
    (folder / "[red]\x1b[2J.pub").touch()
    ended = keys("list", "--folder", str(folder))
    assert ended.status == 1
    assert "2 of 2 keys" in ended.one_line
    assert "unusable" in ended.output
    assert "release.key may be read by others than its owner, mode 0644 (chmod 600" in ended.output
    assert "[red]?[2J" in ended.output


def test_no_keys_are_no_fault_and_no_folder_is(tmp_path: Path) -> None:
    assert "has no keys" in keys("list", "--folder", str(tmp_path)).output
    missing = keys("list", "--folder", str(tmp_path / "gone"))
    assert missing.status == 2
    assert "gone cannot be read" in missing.one_line


@needs_openssl
def test_openssl_reads_what_is_made_here(folder: Path) -> None:
    assert openssl("pkey", "-in", folder / "release.key", "-pubout") == (folder / "release.pub").read_bytes()


@needs_openssl
def test_a_key_that_openssl_has_made_is_used_as_any_other(folder: Path) -> None:
    path = folder / "theirs.key"
    openssl("genpkey", "-algorithm", "ed25519", "-out", path)
    path.chmod(0o600)
    (folder / "theirs.pub").write_bytes(openssl("pkey", "-in", path, "-pubout"))
    (theirs,) = (key for key in list_keys(folder) if key.name == "theirs")
    assert theirs == ListedKey("theirs", read_signing_key(path).key_id, fits=True)

    (folder / "content").write_bytes(b"content")
    (folder / "signature").write_bytes(read_signing_key(path).sign(b"content"))
    told = openssl(
        "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", folder / "theirs.pub",
        "-in", folder / "content", "-sigfile", folder / "signature",
    )  # fmt: skip
    assert b"Verified Successfully" in told


@needs_openssl
def test_a_key_of_another_algorithm_is_refused(folder: Path) -> None:
    path = folder / "ec.key"
    openssl("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    path.chmod(0o600)
    with pytest.raises(SigningKeyUnusable, match="holds no Ed25519 key"):
        read_signing_key(path)
