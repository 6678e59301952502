"""Archives by somebody who wrote the sidecar too: refused, or what is served is what was packed."""

from __future__ import annotations

import itertools
import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqserve.archive import MAX_REFUSAL_CHARACTERS, claimed_signatures, read_archive
from seqserve.archive_members import read_laid_out
from seqserve.errors import ArchiveInvalid
from seqserve.signature import MAX_BATCH_BYTES, Signature
from seqserve.trust import UNCHECKED
from support.archives import (
    made_up_golden,
    members_of,
    npy,
    renamed,
    sums_of,
    write_sidecar,
)
from support.contract import signature_document
from support.zips import Part, streamed, zipped

TINY = renamed(Signature.parse(signature_document("tiny_image")), "tiny", "1")
USUAL = {name: content for name, content in members_of(TINY, made_up_golden(TINY)).items() if content}
MEMBERS = USUAL | {"SHA256SUMS": sums_of(list(USUAL.items()))}
SOUND = zipped([Part(name.encode(), content) for name, content in sorted(MEMBERS.items())])
Reshape = Callable[[dict[str, bytes]], dict[str, bytes]]


def _written(folder: Path, content: bytes) -> Path:
    path = folder / "tiny-1.mar"
    path.write_bytes(content)
    write_sidecar(path)
    return path


def _packed(members: dict[str, bytes]) -> bytes:
    """A zip of the members; large ones are stored, so that the bound of the ratio does not meet them."""
    return zipped(
        [
            Part(name.encode(), content, method=0 if len(content) > 2**19 else 8)
            for name, content in members.items()
        ]
    )


def _refusal(folder: Path, content: bytes) -> str:
    path = _written(folder, content)
    with pytest.raises(ArchiveInvalid) as refusal:
        read_archive(path, UNCHECKED)
    return str(refusal.value)


def _with(folder: Path, **replaced: bytes) -> str:
    """The refusal of an archive whose sums are right, with members replaced: `signature_json` for example."""
    members = USUAL | {name.replace("_", "."): content for name, content in replaced.items()}
    return _refusal(folder, _packed(members | {"SHA256SUMS": sums_of(list(members.items()))}))


def test_the_archive_that_is_tampered_with_below_is_sound(tmp_path: Path) -> None:
    path = _written(tmp_path, SOUND)
    assert read_archive(path, UNCHECKED).signature == TINY
    assert claimed_signatures([path], UNCHECKED) == [TINY]


# ---- bytes


def test_a_flipped_byte_is_refused_wherever_it_lies(tmp_path: Path) -> None:
    path = _written(tmp_path, SOUND)
    for position in range(len(SOUND)):
        changed = bytearray(SOUND)
        changed[position] ^= 0x55
        path.write_bytes(changed)
        with pytest.raises(ArchiveInvalid, match="SHA-256 is"):
            read_archive(path, UNCHECKED)


def test_a_flipped_byte_under_a_forged_sidecar_is_refused_wherever_it_lies(tmp_path: Path) -> None:
    taken = []
    for position in range(len(SOUND)):
        changed = bytearray(SOUND)
        changed[position] ^= 0xFF
        try:
            read_archive(_written(tmp_path, bytes(changed)), UNCHECKED)
        except ArchiveInvalid:
            continue
        taken.append(position)
    assert taken == []


def test_a_flipped_byte_of_the_sidecar_is_refused(tmp_path: Path) -> None:
    path = _written(tmp_path, SOUND)
    sidecar = tmp_path / "tiny-1.mar.sha256"
    whole = sidecar.read_bytes()
    for position in range(64):
        changed = bytearray(whole)
        changed[position] ^= 1
        sidecar.write_bytes(changed)
        with pytest.raises(ArchiveInvalid, match=r"SHA-256 is|not one line"):
            read_archive(path, UNCHECKED)


def test_an_archive_that_was_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    for length in range(0, len(SOUND), 3):
        path = _written(tmp_path, SOUND[:length])
        assert claimed_signatures([path], UNCHECKED) == []
        with pytest.raises(ArchiveInvalid):
            read_archive(path, UNCHECKED)


# ---- members


def _without(name: str) -> Reshape:
    return lambda members: {each: content for each, content in members.items() if each != name}


def _renaming(name: str) -> Reshape:
    return lambda members: {f"{each}x" if each == name else each: members[each] for each in members}


def _rewriting(name: str) -> Reshape:
    return lambda members: members | {name: members[name] + b" "}


def _swapping(one: str, other: str) -> Reshape:
    return lambda members: members | {one: members[other], other: members[one]}


ORDER = sorted(MEMBERS)
CHANGES = [
    *(pytest.param(_without(name), id=f"without {name}") for name in ORDER),
    *(pytest.param(_renaming(name), id=f"another name for {name}") for name in ORDER),
    *(pytest.param(_rewriting(name), id=f"another {name}") for name in sorted(USUAL)),
    *(
        pytest.param(_swapping(one, other), id=f"{one} for {other}")
        for one, other in itertools.pairwise(ORDER)
    ),
    pytest.param(lambda members: members | {"more.py": b"import os"}, id="one more"),
    pytest.param(lambda members: members | {"SHA256SUMS": b""}, id="empty sums"),
    pytest.param(lambda members: members | {"SHA256SUMS": members["SHA256SUMS"] * 2}, id="sums twice"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_members_that_are_not_those_of_the_sums_are_refused(tmp_path: Path, change: Reshape) -> None:
    assert "tiny-1.mar: " in _refusal(tmp_path, _packed(change(MEMBERS)))


@pytest.mark.parametrize("name", sorted(USUAL))
def test_a_second_content_for_a_member_is_refused_in_whatever_place(tmp_path: Path, name: str) -> None:
    parts = [Part(each.encode(), content) for each, content in sorted(MEMBERS.items())]
    at = sorted(MEMBERS).index(name)
    evil = Part(name.encode(), b"evil")
    assert "two members named" in _refusal(tmp_path, zipped([*parts, evil]))
    assert "two members named" in _refusal(tmp_path, zipped([evil, *parts]))
    # The directory knows only the sound one, and a reader from the front finds both.
    local = zipped([evil])
    hidden = Part(name.encode(), MEMBERS[name], before=local[: local.index(b"PK\x01\x02")])
    both = zipped([*parts[:at], hidden, *parts[at + 1 :]])
    with zipfile.ZipFile(BytesIO(both)) as archive:
        assert archive.read(name) == MEMBERS[name]
    assert "what lies before ends at" in _refusal(tmp_path, both)


# ---- anything at all

_FIELDS = st.sampled_from([0, 1, 8, 0x14, 0xFF, 0x7FFF, 0xFFFF, 0xFFFFFFFF, len(SOUND)])
_PLACES = st.integers(0, len(SOUND))
_RECORDS = [at for at in range(len(SOUND)) if SOUND[at : at + 2] == b"PK"]
_NEAR_RECORDS = st.builds(lambda at, behind: at + behind, st.sampled_from(_RECORDS), st.integers(0, 46))
_EDITS = st.tuples(
    st.sampled_from(["set16", "set32", "cut", "insert", "copy", "byte"]),
    st.one_of(_PLACES, _NEAR_RECORDS),
    _PLACES,
    _FIELDS,
)
Edit = tuple[str, int, int, int]


def _edited(content: bytes, edit: Edit) -> bytes:
    kind, at, other, value = edit
    if kind == "byte":
        return content[:at] + bytes([value & 0xFF]) + content[at + 1 :]
    if kind in ("set16", "set32"):
        size = int(kind[3:]) // 8
        return content[:at] + (value % (1 << 8 * size)).to_bytes(size, "little") + content[at + size :]
    if kind == "cut":
        return content[: min(at, other)] + content[max(at, other) :]
    if kind == "insert":
        return content[:at] + bytes([value & 0xFF]) * (other % 64) + content[at:]
    return content[:at] + content[other : other + 64] + content[at + 64 :]


@settings(max_examples=1500, deadline=None)
@given(st.lists(_EDITS, min_size=1, max_size=3))
def test_any_change_is_refused_or_changes_no_member_for_any_reader(edits: list[Edit]) -> None:
    content = SOUND
    for edit in edits:
        content = _edited(content, edit)
    try:
        found = read_laid_out(content, "the archive")
    except ArchiveInvalid:
        return
    assert found == MEMBERS == streamed(content)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        assert found == {name: archive.read(name) for name in archive.namelist()}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_document_is_a_signature_or_is_refused(content: bytes) -> None:
    with pytest.raises(ArchiveInvalid):
        Signature.parse(content)


# ---- claims of members, with right sums


def _signature(**changes: Any) -> bytes:
    return json.dumps(json.loads(USUAL["signature.json"]) | changes).encode()


def _sized(elements: int, batch: int) -> bytes:
    tensor = {"name": "image", "datatype": "FP32", "shape": [-1, elements]}
    shapes = [{"shape": [elements], "layout": "flat"}]
    return _signature(input=tensor, example_shapes=shapes, max_batch_size=batch)


LARGEST = MAX_BATCH_BYTES // 4 // 65536 - 2  # numbers of an example, of which 65536 fill a batch


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (_sized(2**31, 1), "one example takes 8589934600 bytes with its output; accepted: 67108864"),
        (_sized(2**24 - 1, 1), "one example takes 67108868 bytes"),
        (_sized(LARGEST + 1, 65536), "max_batch_size 65536; accepted for this size: 65472"),
        (_signature(max_batch_size=65537), "max_batch_size"),
        (_signature(max_batch_size=10**400), "max_batch_size"),
        (_signature(minimum=10**400), "minimum"),
        (_signature(example_shapes=[{"shape": [6], "layout": "flat"}] * 65), "example_shapes"),
        (_signature(example_shapes=[{"shape": [1] * 8, "layout": "flat"}]), "example_shapes"),
        (_signature(labels=["a" * 257, "b"]), "labels.0"),
        (_signature(labels=["a"] * 65537), "labels"),
        (_signature(training={"deep": "x"}).replace(b'"x"', b"[" * 5000 + b"]" * 5000), "document"),
        (_signature(training={"long": "x" * 8 * 2**20}), "signature.json: has more than 8388608 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_signature_that_would_make_an_engine_allocate_is_refused(
    tmp_path: Path, document: bytes, says: str
) -> None:
    refusal = _with(tmp_path, signature_json=document)
    assert says in refusal
    assert len(refusal) < 500
    assert claimed_signatures([tmp_path / "tiny-1.mar"], UNCHECKED) == []


@pytest.mark.parametrize("document", [_sized(2**24 - 2, 1), _sized(2**24 - 2, 4), _sized(LARGEST, 65536)])
def test_the_largest_signatures_are_taken(document: bytes) -> None:
    assert Signature.parse(document).elements > LARGEST - 1


@pytest.mark.parametrize("depth", [100, 100_000])
def test_a_manifest_of_any_depth_is_refused(tmp_path: Path, depth: int) -> None:
    members = USUAL | {"MAR-INF/MANIFEST.json": b'{"model":' * depth + b"1" + b"}" * depth}
    members["SHA256SUMS"] = sums_of(list(members.items()))
    assert "MAR-INF/MANIFEST.json" in _refusal(tmp_path, _packed(members))


@pytest.mark.parametrize(
    "sums",
    [
        b"\n" * 100_000,
        b"a" * 2**20,
        b"\xff" * 1000,
        b"0" * 64 + b"  " + b"n" * 2**20,
        b"0" * 64 + b"  ../a\n",
        b"0" * 64 + b"  \x1b[31mred\n",
    ],
    ids=["empty lines", "one long line", "no text", "a long name", "a path", "a colour"],
)
def test_sums_that_are_none_are_refused_in_few_words(tmp_path: Path, sums: bytes) -> None:
    refusal = _refusal(tmp_path, _packed(USUAL | {"SHA256SUMS": sums}))
    assert "SHA256SUMS" in refusal or "listed" in refusal or refusal.endswith("...")
    assert len(refusal) <= MAX_REFUSAL_CHARACTERS
    assert refusal.isprintable()


def _in(name: str, **changes: Any) -> dict[str, bytes]:
    return {name: json.dumps(json.loads(USUAL[name]) | changes).encode()}


@pytest.mark.parametrize("long", ["\x1b]0;title\x07\r\n\u202e", "\x00", "y" * 2**19])
def test_what_an_archive_says_is_told_in_few_plain_characters(tmp_path: Path, long: str) -> None:
    model = json.loads(USUAL["MAR-INF/MANIFEST.json"])["model"]
    rows = npy(np.full((2, 6), 0.5, np.float32))
    said = [
        _in("signature.json", **{long: 1}),
        _in("MAR-INF/MANIFEST.json", model=model | {"handler": long}),
        {"golden.npz": zipped([Part(f"{long[:60000]}{each}".encode(), rows) for each in range(9)])},
    ]
    for members in said:
        changed = USUAL | members
        refusal = _refusal(tmp_path, _packed(changed | {"SHA256SUMS": sums_of(list(changed.items()))}))
        assert refusal.startswith("tiny-1.mar: ")
        assert len(refusal) <= MAX_REFUSAL_CHARACTERS
        assert refusal.isprintable()
