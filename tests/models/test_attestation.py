"""Attestations beside archives: whose they are, what they say, and what is not attested."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqserve_models.attestation import attest_archive, attestation, statement
from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import NotAttestable, SigningKeyUnusable
from seqserve_models.plan import BuildSettings, make_plans
from seqserve_models.signing_keys import SigningKey, make_key, read_signing_key
from seqserve_models.store import choose_version, publish
from seqserve_models.target import Target
from support.command import seqserve

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["numpy"] = None
from seqserve.cli import main
main()
"""
CONTENT = b"an archive, and nobody here looks into it"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def new_key(folder: Path, name: str = "release") -> SigningKey:
    return read_signing_key(make_key(name, folder).private)


def stored(folder: Path, name: str = "m-n", version: str = "2") -> Path:
    return publish(CONTENT, folder / "store", name, version, {})


def document(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


def said(path: Path) -> bytes:
    return base64.b64decode(document(path)["payload"])


def signers(path: Path) -> list[str]:
    return [one["keyid"] for one in document(path)["signatures"]]


def test_what_is_said_is_the_name_the_version_and_the_bytes(tmp_path: Path) -> None:
    key, path = new_key(tmp_path / "keys"), stored(tmp_path)
    done = attest_archive(path, key)
    assert (done.path, done.sha256, done.key_id) == (path.with_name("m-n-2.mar.sig"), SHA256, key.key_id)
    assert (done.kept, done.has_replaced) == (0, False)
    assert said(done.path) == statement("m-n", "2", SHA256)
    assert signers(done.path) == [key.key_id]
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "m-n-2.mar",
        "m-n-2.mar.sha256",
        "m-n-2.mar.sig",
    ]


def test_the_signatures_of_others_over_the_same_stay(tmp_path: Path) -> None:
    old, new = (new_key(tmp_path / "keys", name) for name in ("old", "new"))
    path = stored(tmp_path)
    attest_archive(path, old)
    before = document(path.with_name("m-n-2.mar.sig"))["signatures"]
    done = attest_archive(path, new)
    assert (done.kept, done.has_replaced) == (1, False)
    assert signers(done.path) == sorted([old.key_id, new.key_id])
    assert before[0] in document(done.path)["signatures"]

    content = done.path.read_bytes()
    assert attest_archive(path, new).kept == 1
    assert done.path.read_bytes() == content


@pytest.mark.parametrize(
    "there",
    [
        statement("m-n", "2", "0" * 64),
        statement("m-n", "3", SHA256),
        statement("m", "2", SHA256),
    ],
)
def test_an_attestation_of_something_else_is_replaced(tmp_path: Path, there: bytes) -> None:
    key, path = new_key(tmp_path / "keys"), stored(tmp_path)
    path.with_name("m-n-2.mar.sig").write_bytes(attestation(there, new_key(tmp_path / "keys", "old")))
    done = attest_archive(path, key)
    assert (done.kept, done.has_replaced) == (0, True)
    assert done.path.read_bytes() == attestation(statement("m-n", "2", SHA256), key)


def test_what_is_no_attestation_is_replaced(tmp_path: Path) -> None:
    key, path = new_key(tmp_path / "keys"), stored(tmp_path)
    beside = path.with_name("m-n-2.mar.sig")
    good = attestation(statement("m-n", "2", SHA256), new_key(tmp_path / "keys", "old"))
    loaded = json.loads(good)
    for content in (
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b"[" * 20000,
        good[:-1] + b" " * 65536,
        good.replace(b'{"payload"', b'{"payloadType":"x","payload"'),
        json.dumps({**loaded, "payloadType": "x"}).encode(),
        json.dumps({**loaded, "payload": 7}).encode(),
        json.dumps({**loaded, "signatures": [3]}).encode(),
    ):
        beside.write_bytes(content)
        assert attest_archive(path, key).has_replaced, content[:80]
        assert signers(beside) == [key.key_id]


@pytest.mark.parametrize(
    "signature", [{"keyid": "x", "sig": "A" * 86 + "=="}, {"keyid": "0" * 32, "sig": "AAAA"}]
)
def test_what_cannot_be_a_signature_is_not_kept(tmp_path: Path, signature: dict[str, str]) -> None:
    key, path = new_key(tmp_path / "keys"), stored(tmp_path)
    loaded = json.loads(attestation(statement("m-n", "2", SHA256), new_key(tmp_path / "keys", "old")))
    loaded["signatures"].append(signature)
    path.with_name("m-n-2.mar.sig").write_text(json.dumps(loaded))
    done = attest_archive(path, key)
    assert (done.kept, done.has_replaced) == (1, False)


def test_more_signatures_than_the_gateway_looks_at_are_not_written(tmp_path: Path) -> None:
    key, path = new_key(tmp_path / "keys"), stored(tmp_path)
    many = {f"{number:032x}": "A" * 86 + "==" for number in range(14)}
    attested = attestation(statement("m-n", "2", SHA256), new_key(tmp_path / "keys", "old"), many)
    beside = path.with_name("m-n-2.mar.sig")
    beside.write_bytes(attested)
    assert attest_archive(path, key).kept == 15
    crowded = beside.read_bytes()
    assert attest_archive(path, key).kept == 15  # one's own is replaced
    assert beside.read_bytes() == crowded
    key = new_key(tmp_path / "keys", "next")
    with pytest.raises(NotAttestable, match="too many signatures"):
        attest_archive(path, key)
    assert beside.read_bytes() == crowded


def test_bytes_that_are_not_those_of_the_sum_are_not_attested(tmp_path: Path) -> None:
    key, path = new_key(tmp_path / "keys"), stored(tmp_path)
    path.write_bytes(CONTENT + b".")
    with pytest.raises(NotAttestable, match=r"m-n-2\.mar\.sha256 says otherwise"):
        attest_archive(path, key)
    path.with_name("m-n-2.mar.sha256").unlink()
    with pytest.raises(NotAttestable, match=r"m-n-2\.mar\.sha256 is missing"):
        attest_archive(path, key)
    assert not path.with_name("m-n-2.mar.sig").exists()


@pytest.mark.parametrize("suffix", [".mar", ".mar.sha256", ".mar.sig"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_files_that_lie_there_themselves_are_looked_at(tmp_path: Path, suffix: str, kind: str) -> None:
    key, path = new_key(tmp_path / "keys"), stored(tmp_path)
    at = path.with_name(f"m-n-2{suffix}")
    if at.exists():
        at.rename(tmp_path / "moved")
    if kind == "link":
        at.symlink_to(tmp_path / "moved")
    elif kind == "pipe":
        os.mkfifo(at)
    else:
        at.mkdir()
    says = "it is a link" if kind == "link" else "it is not a regular file"
    with pytest.raises(NotAttestable, match=f"{at.name} cannot be read: {says}"):
        attest_archive(path, key)


@pytest.mark.parametrize("name", ["m.mar", "m-1", "m-01.mar", "m-x.mar", "-1.mar", ".m-1.mar", "m-1.mar\n"])
def test_a_file_of_another_name_is_not_attested(tmp_path: Path, name: str) -> None:
    key = new_key(tmp_path / "keys")
    (tmp_path / name).write_bytes(CONTENT)
    with pytest.raises(NotAttestable, match=r"is not called NAME-VERSION\.mar"):
        attest_archive(tmp_path / name, key)


def test_a_key_that_cannot_be_used_is_found_before_anything_is_read(
    tmp_path: Path, definition: ModelDefinition
) -> None:
    make_key("open", tmp_path).private.chmod(0o644)
    for name, says in (("gone.key", "cannot be read"), ("open.key", "may be read by others")):
        settings = BuildSettings(output=tmp_path / "store", signing_key=tmp_path / name)
        with pytest.raises(SigningKeyUnusable, match=says):
            make_plans([Target(definition, "digit_mlp")], settings)


def test_an_attestation_that_was_left_over_keeps_its_version(tmp_path: Path) -> None:
    (tmp_path / "m-4.mar.sig").touch()
    assert choose_version(tmp_path, "m", None) == "5"


def test_the_command_says_what_was_attested_by_whom_and_what_was_not(tmp_path: Path) -> None:
    made, path = make_key("release", tmp_path / "keys"), stored(tmp_path)
    other = stored(tmp_path, version="3")
    other.write_bytes(b"other bytes")
    ended = seqserve("attest", str(path), str(other), "--signing-key", str(made.private))
    assert ended.status == 1
    assert ended.one_line == "seqserve: 1 of 2 archives were not attested"
    assert f"m-n-2.mar: sha256 {SHA256}, attested by {made.key_id}\n" in ended.output
    assert "m-n-3.mar.sha256 says otherwise" in ended.output

    again = make_key("next", tmp_path / "keys")
    ended = seqserve("attest", str(path), "--signing-key", str(again.private))
    assert (ended.status, ended.errors) == (0, "")
    assert f"attested by {again.key_id}, beside 1 of other keys\n" in ended.output

    path.with_name("m-n-2.mar.sig").write_text("{}")
    ended = seqserve("attest", str(path), "--signing-key", str(made.private))
    assert "; m-n-2.mar.sig attested something else and was replaced" in ended.output


def test_no_name_of_a_file_does_anything_to_a_terminal_or_a_log(tmp_path: Path) -> None:
    made = make_key("release", tmp_path / "keys")
    for name in ("x\x1b]0;pwned\x07red\n2-1.mar", "y\x1b[2J\n.mar.bak"):
        ended = seqserve("attest", str(tmp_path / name), "--signing-key", str(made.private))
        assert ended.status == 1
        assert ended.output.replace("\n", "").isprintable()
        assert ended.output.count("\n") == 1
    ended = seqserve("attest", str(tmp_path / "m-1.mar"), "--signing-key", str(tmp_path / "\x1b[2J\n.key"))
    assert ended.one_line.isprintable()


def test_the_key_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, path = make_key("release", tmp_path / "keys"), stored(tmp_path)
    assert "Missing option '--signing-key'" in seqserve("attest", str(path)).one_line
    monkeypatch.setenv("SEQSERVE_SIGNING_KEY", str(made.private))
    assert seqserve("attest", str(path)).status == 0
    monkeypatch.setenv("SEQSERVE_SIGNING_KEY", str(tmp_path / "gone.key"))
    for arguments in (("attest", str(path)), ("build", "line", "--output", str(tmp_path / "new"))):
        ended = seqserve(*arguments)
        assert ended.status == 2
        assert "gone.key cannot be read: No such file" in ended.one_line
    assert not (tmp_path / "new").exists()


def test_keys_and_attestations_need_no_torch(tmp_path: Path) -> None:
    path = stored(tmp_path)
    for arguments in (
        ["keys", "new", "release"],
        ["keys", "list"],
        ["attest", path, "--signing-key", "keys/release.key"],
    ):
        ended = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
    assert path.with_name("m-n-2.mar.sig").exists()
