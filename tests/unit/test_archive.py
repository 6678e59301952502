"""Archives: what a sound one gives, and every way in which one can differ from what it claims."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqserve import archive as archive_module
from seqserve import zip_layout
from seqserve.archive import read_archive, scan_store
from seqserve.errors import ArchiveInvalid, StoreMissing
from seqserve.signature import Signature
from seqserve.trust import UNCHECKED
from support.archives import (
    TORCHSCRIPT,
    made_up_golden,
    make_archive,
    members_of,
    npy,
    npz,
    renamed,
    sums_of,
    write_archive,
    write_sidecar,
)
from support.contract import signature_document

TINY = renamed(Signature.parse(signature_document("tiny_image")), "tiny", "1")
HALVES = np.full((2, 6), 0.5, np.float32)
EVEN = np.full((2, 2), 0.5, np.float32)


def _refusal(path: Path) -> str:
    with pytest.raises(ArchiveInvalid) as refusal:
        read_archive(path, UNCHECKED)
    assert str(refusal.value).startswith(f"{path.name}: ")
    return str(refusal.value)


def _with_members(folder: Path, *extra: tuple[str, bytes], summed: bool = True) -> Path:
    """A sound archive with members added, listed in SHA256SUMS or not."""
    usual = [(name, content) for name, content in members_of(TINY, made_up_golden(TINY)).items() if content]
    sums = sums_of([*usual, *extra] if summed else usual)
    return write_archive(folder / "tiny-1.mar", [*usual, *extra, ("SHA256SUMS", sums)])


def _manifest(**changes: str) -> bytes:
    document: dict[str, Any] = json.loads(
        members_of(TINY, made_up_golden(TINY))["MAR-INF/MANIFEST.json"] or b""
    )
    document["model"] |= changes
    return json.dumps(document).encode()


def test_a_sound_archive_gives_all_it_holds(tmp_path: Path) -> None:
    inputs = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 6)
    path = make_archive(tmp_path, golden=(inputs, EVEN))
    found = read_archive(path, UNCHECKED)
    assert (found.name, found.version) == ("tiny", "1")
    assert found.signature == TINY
    assert found.torchscript == TORCHSCRIPT
    assert found.content == path.read_bytes()
    assert f"{found.sha256}  tiny-1.mar\n" == (tmp_path / "tiny-1.mar.sha256").read_text()
    np.testing.assert_array_equal(found.golden_inputs, inputs)
    np.testing.assert_array_equal(found.golden_outputs, EVEN)
    assert found.golden_inputs.dtype == found.golden_outputs.dtype == np.float32


def test_a_file_that_is_named_after_another_version_is_refused(tmp_path: Path) -> None:
    other = make_archive(tmp_path).rename(tmp_path / "tiny-2.mar")
    write_sidecar(other)
    assert "the archive holds tiny 1, so its name is tiny-1.mar" in _refusal(other)


def test_a_regression_archive_needs_no_labels(tmp_path: Path) -> None:
    line = Signature.parse(signature_document("line"))
    found = read_archive(make_archive(tmp_path, "line", "12", signature=line), UNCHECKED)
    assert found.version == "12"
    assert found.golden_inputs.shape == (2, 1)


# ---- the file and its sidecar


def test_one_flipped_byte_anywhere_is_refused(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        assert "SHA-256 is" in _refusal(path)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "SHA-256 is" in _refusal(path)
    write_sidecar(path)
    assert "no readable zip" in _refusal(path)


def test_a_missing_sidecar_is_named(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    (tmp_path / "tiny-1.mar.sha256").unlink()
    assert "there is no tiny-1.mar.sha256 beside it" in _refusal(path)


@pytest.mark.parametrize("text", ["", "abc", "0" * 63 + "  tiny-1.mar\n", "0" * 64, f"{'0' * 64}  a\n" * 2])
def test_a_sidecar_that_is_not_one_line_of_sha256sum_is_refused(tmp_path: Path, text: str) -> None:
    path = make_archive(tmp_path)
    (tmp_path / "tiny-1.mar.sha256").write_text(text)
    assert "not one line of sha256sum" in _refusal(path)


def test_a_long_sidecar_is_not_read(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    (tmp_path / "tiny-1.mar.sha256").write_bytes(bytes(4097))
    assert "tiny-1.mar.sha256 cannot be read: it has more than 4096 bytes" in _refusal(path)


def test_the_sidecar_is_compared_before_the_archive_is_parsed(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    path.write_bytes(b"no zip at all")
    assert "SHA-256 is" in _refusal(path)


def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in _refusal(tmp_path / "none-1.mar")


def test_a_link_to_a_sound_archive_is_not_followed(tmp_path: Path) -> None:
    target = make_archive(tmp_path)
    link = tmp_path / "link-1.mar"
    link.symlink_to(target)
    write_sidecar(link)
    assert "link" in _refusal(link).removeprefix("link-1.mar")


def test_a_link_as_sidecar_is_not_followed(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    sidecar = tmp_path / "tiny-1.mar.sha256"
    sidecar.rename(tmp_path / "elsewhere")
    sidecar.symlink_to(tmp_path / "elsewhere")
    assert "tiny-1.mar.sha256 cannot be read: it is a link" in _refusal(path)


def test_a_folder_and_a_pipe_are_no_archives(tmp_path: Path) -> None:
    (tmp_path / "folder-1.mar").mkdir()
    os.mkfifo(tmp_path / "pipe-1.mar")
    assert "not a regular file" in _refusal(tmp_path / "folder-1.mar")
    assert "not a regular file" in _refusal(tmp_path / "pipe-1.mar")


def test_a_file_above_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_archive(tmp_path)
    monkeypatch.setattr(archive_module, "MAX_ARCHIVE_BYTES", 100)
    assert "more than 100 bytes" in _refusal(path)


# ---- the members


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/evil", "a/../../evil", "a\\evil", "C:evil", "folder/", "./evil", "a//evil"]
)
def test_unsafe_member_names_are_refused(tmp_path: Path, name: str) -> None:
    assert "unsafe name" in _refusal(_with_members(tmp_path, (name, b"x")))


def test_a_name_with_a_zero_byte_is_refused(tmp_path: Path) -> None:
    path = _with_members(tmp_path, ("handler.py_evil", b"x"))
    path.write_bytes(path.read_bytes().replace(b"handler.py_evil", b"handler.py\0evil"))
    write_sidecar(path)
    assert "unsafe name" in _refusal(path)


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    assert "two members named 'handler.py'" in _refusal(_with_members(tmp_path, ("handler.py", b"other")))


def test_a_member_that_is_not_in_the_sums_is_refused(tmp_path: Path) -> None:
    path = _with_members(tmp_path, ("extra.py", b"x"), summed=False)
    assert "member extra.py: in the archive, not listed" in _refusal(path)


def test_a_listed_member_that_is_not_there_is_refused(tmp_path: Path) -> None:
    usual = [(name, content) for name, content in members_of(TINY, (HALVES, EVEN)).items() if content]
    sums = sums_of([*usual, ("gone.txt", b"x")])
    path = write_archive(tmp_path / "tiny-1.mar", [*usual, ("SHA256SUMS", sums)])
    assert "member gone.txt: listed in SHA256SUMS, not in the archive" in _refusal(path)


def test_a_member_with_another_hash_is_named(tmp_path: Path) -> None:
    members = {name: content for name, content in members_of(TINY, (HALVES, EVEN)).items() if content}
    sums = sums_of(list(members.items()))
    members["tiny.pt"] = b"somebody else's model"
    path = write_archive(tmp_path / "tiny-1.mar", [*members.items(), ("SHA256SUMS", sums)])
    assert "member tiny.pt: SHA-256 is" in _refusal(path)


@pytest.mark.parametrize("line", ["nonsense", "0" * 64 + " one-space", "Z" * 64 + "  name", ""])
def test_malformed_sums_are_refused(tmp_path: Path, line: str) -> None:
    path = write_archive(tmp_path / "tiny-1.mar", [("SHA256SUMS", f"{line}\n".encode())])
    assert "SHA256SUMS: line 1" in _refusal(path)


def test_sums_that_name_a_member_twice_are_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "tiny-1.mar", [("SHA256SUMS", f"{'0' * 64}  a\n".encode() * 2)])
    assert "SHA256SUMS: line 2" in _refusal(path)


@pytest.mark.parametrize(
    "name", ["handler.py", "signature.json", "golden.npz", "tiny.pt", "MAR-INF/MANIFEST.json"]
)
def test_a_member_that_must_be_there_is_named_when_missing(tmp_path: Path, name: str) -> None:
    assert f"member {name}: missing" in _refusal(make_archive(tmp_path, replace={name: None}))


def test_an_archive_without_sums_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "tiny-1.mar", [("handler.py", b"x")])
    assert "member SHA256SUMS: missing" in _refusal(path)


def test_a_member_that_inflates_too_much_is_refused_by_its_header(tmp_path: Path) -> None:
    path = make_archive(tmp_path, replace={"tiny.pt": bytes(2 * 2**20)})
    assert "member tiny.pt: inflates by more than 200" in _refusal(path)


def test_members_that_inflate_to_too_much_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_archive(tmp_path)
    monkeypatch.setattr(zip_layout, "MAX_UNCOMPRESSED_BYTES", 500)
    assert "the archive inflates to more than 500 bytes" in _refusal(path)


def test_a_member_larger_than_its_header_says_is_refused(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    whole = bytearray(path.read_bytes())
    entry = whole.index(b"PK\x01\x02")
    (size,) = struct.unpack_from("<I", whole, entry + 24)
    struct.pack_into("<I", whole, entry + 24, size - 1)
    path.write_bytes(whole)
    write_sidecar(path)
    assert "its local header differs" in _refusal(path)


def test_other_compressions_than_deflate_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny-1.mar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("handler.py", b"x" * 100)
    write_sidecar(path)
    assert "compressed by a method other than deflate" in _refusal(path)


# ---- what the members say


@pytest.mark.parametrize(
    ("field", "value"),
    [("modelName", "other"), ("modelVersion", "2"), ("serializedFile", "other.pt"), ("handler", "image.py")],
)
def test_a_manifest_that_contradicts_the_signature_is_refused(tmp_path: Path, field: str, value: str) -> None:
    path = make_archive(tmp_path, replace={"MAR-INF/MANIFEST.json": _manifest(**{field: value})})
    assert f"{field} is {value!r}" in _refusal(path)


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"model": 1}', b"{}", b"[" * 100_000, b"\xff"])
def test_a_manifest_that_describes_no_model_is_refused(tmp_path: Path, text: bytes) -> None:
    path = make_archive(tmp_path, replace={"MAR-INF/MANIFEST.json": text})
    assert "MAR-INF/MANIFEST.json" in _refusal(path)


def test_a_signature_that_does_not_hold_together_is_refused(tmp_path: Path) -> None:
    path = make_archive(tmp_path, replace={"signature.json": b'{"schema_version": 1}'})
    assert "signature.json: name" in _refusal(path)


@pytest.mark.parametrize(
    ("golden", "says"),
    [
        (npz(inputs=HALVES), "holds ['inputs.npy']"),
        (npz(inputs=HALVES, outputs=EVEN, more=EVEN), "'outputs.npy'], not ['inputs.npy', 'outputs.npy']"),
        (npz(inputs=HALVES[:1], outputs=EVEN), "1 inputs and 2 outputs"),
        (npz(inputs=HALVES[:0], outputs=EVEN[:0]), "inputs has shape [0, 6]"),
        (npz(inputs=HALVES[:, :5], outputs=EVEN), "inputs has shape [2, 5]"),
        (npz(inputs=HALVES, outputs=EVEN[:, :1]), "outputs has shape [2, 1]"),
        (npz(inputs=HALVES.reshape(2, 2, 3), outputs=EVEN), "inputs has shape [2, 2, 3]"),
        (npz(inputs=np.array(1, np.float32), outputs=EVEN), "inputs has shape []"),
        (npz(inputs=HALVES.astype(np.float64), outputs=EVEN), "inputs must be FP32"),
        (npz(inputs=HALVES.astype(">f4"), outputs=EVEN), "inputs must be FP32, little-endian"),
        (npz(inputs=np.asfortranarray(HALVES), outputs=EVEN), "row-major"),
        (npz(inputs=HALVES.astype(object), outputs=EVEN), "inputs must be FP32"),
        (b"no zip", "golden.npz is no readable zip"),
    ],
)  # fmt: skip
def test_golden_rows_that_do_not_fit_the_signature_are_refused(
    tmp_path: Path, golden: bytes, says: str
) -> None:
    assert says in _refusal(make_archive(tmp_path, replace={"golden.npz": golden}))


def _golden_of(inputs: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inputs.npy", inputs)
        archive.writestr("outputs.npy", npy(EVEN))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (b"", "inputs is no NumPy array"),
        (b"\x93NUMPY\x01\x00\xff\xff", "inputs is no NumPy array"),
        (b"\x93NUMPY\x02\x00" + npy(HALVES)[8:], "version 1.0"),
        (npy(HALVES)[:-1], "47 bytes for shape [2, 6]"),
        (npy(HALVES) + b"x", "49 bytes for shape [2, 6]"),
        (npy(HALVES).replace(b"(2, 6), }  ", b"(2**9,6),} "), "inputs is no NumPy array"),
        (npy(HALVES).replace(b"(2, 6), }         ", b"(999999999, 6), } "), "48 bytes for shape [999999999, 6]"),
    ],
)  # fmt: skip
def test_a_golden_array_that_lies_about_itself_is_refused(tmp_path: Path, inputs: bytes, says: str) -> None:
    assert says in _refusal(make_archive(tmp_path, replace={"golden.npz": _golden_of(inputs)}))


# ---- the store


def test_a_store_lists_its_archives_by_name(tmp_path: Path) -> None:
    for name in ("b-1.mar", "a-2.mar", "a-2.mar.sha256", "readme.txt", ".half-written-1.mar"):
        (tmp_path / name).touch()
    assert scan_store(tmp_path) == [tmp_path / "a-2.mar", tmp_path / "b-1.mar"]


def test_an_empty_store_has_no_archives(tmp_path: Path) -> None:
    assert scan_store(tmp_path) == []


def test_a_missing_store_comes_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match="no model store at") as missing:
        scan_store(tmp_path / "none")
    assert "seqserve build" in missing.value.hint


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreMissing):
        scan_store(tmp_path / "file")
