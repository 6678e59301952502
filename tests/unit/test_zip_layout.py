"""Zips that one reader reads in one way and the next in another, and zips that lie about their sizes."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import pytest

from seqserve import zip_layout
from seqserve.archive_members import read_laid_out
from seqserve.errors import ArchiveInvalid
from seqserve.zip_layout import MAX_MEMBERS, check_layout
from support.zips import END, ENTRY, LOCAL, Lies, Part, deflated, packed, streamed, zipped

FIRST, SECOND = Part(b"MAR-INF/MANIFEST.json", b"{}" * 30), Part(b"handler.py", b"# nothing\n")
SOUND = [FIRST, SECOND]
MEMBERS = {part.name.decode(): part.content for part in SOUND}
DIRECTORY = zipped(SOUND).index(b"PK\x01\x02")


def _refusal(content: bytes) -> str:
    with pytest.raises(ArchiveInvalid) as refusal:
        read_laid_out(content, "the archive")
    return str(refusal.value)


def test_a_sound_zip_is_read_alike_from_the_front_and_by_its_directory() -> None:
    content = zipped([FIRST, Part(b"stored.pt", b"as it is", method=0), Part(b"empty", b"", method=0)])
    found = read_laid_out(content, "the archive")
    assert found == streamed(content)
    assert list(found) == ["MAR-INF/MANIFEST.json", "stored.pt", "empty"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert found == {name: archive.read(name) for name in archive.namelist()}


def test_the_place_and_size_of_each_member_are_told() -> None:
    content = zipped(SOUND)
    first, second = check_layout(content, "the archive")
    assert (first.name, first.size) == ("MAR-INF/MANIFEST.json", 60)
    assert content[first.data] == deflated(FIRST.content)
    assert content[second.data] == deflated(SECOND.content)


# ---- the file as a whole


@pytest.mark.parametrize("length", range(len(zipped(SOUND))))
def test_a_zip_that_was_cut_off_is_refused(length: int) -> None:
    assert _refusal(zipped(SOUND)[:length])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no readable zip"),
        (packed(END, {"magic": b"PK\x05\x06"}), "0 members; accepted: 1 to 256"),
        (b"#!/bin/sh\n" + zipped(SOUND), "directory that does not lie just before"),
        (zipped([Part(b"a", before=b"#!/bin/sh\n"), SECOND]), "begins at byte 10, what lies before ends at 0"),
        (zipped([FIRST, Part(b"a", before=b"gap")]), "what lies before ends at"),
        (zipped(SOUND, gap=b"gap"), "its members end at byte"),
        (zipped(SOUND, behind=b"PK\x05\x05\x00\x00"), "more in it than 2 entries"),
        (zipped(SOUND) + b"tail", "does not end with a zip's end record"),
        (zipped(SOUND) + bytes(22), "does not end with a zip's end record"),
        (zipped(SOUND, end={"comment_bytes": 4}) + b"note", "does not end with a zip's end record"),
        (zipped(SOUND, end={"comment_bytes": 4}), "comment behind its end record"),
        (zipped(SOUND, end={"comment_bytes": 22}) + zipped(SOUND)[-22:], "directory that does not lie just"),
        (zipped(SOUND) + zipped([Part(b"other")]), "directory that does not lie just before"),
        (zipped(SOUND, end={"disk": 1}), "several disks"),
        (zipped(SOUND, end={"directory_disk": 1}), "several disks"),
        (zipped(SOUND, end={"entries_here": 1}), "several disks"),
        (zipped(SOUND, end={"entries": 1, "entries_here": 1}), "more in it than 1 entries"),
        (zipped(SOUND, end={"entries": 3, "entries_here": 3}), "a directory whose entry 3 is none"),
        (zipped(SOUND, behind=b"PK\x01\x02", end={"entries": 3, "entries_here": 3}), "entry 3 is none"),
        (zipped(SOUND, behind=b"PK\x01\x02" + bytes(41), end={"entries": 3, "entries_here": 3}), "entry 3 is none"),
        (zipped(SOUND, end={"directory": DIRECTORY + 1}), "directory that does not lie just before"),
        (zipped(SOUND, end={"directory_bytes": 0}), "directory that does not lie just before"),
        (zipped(SOUND, end={"directory": 0, "directory_bytes": len(zipped(SOUND)) - 22}), "whose entry 1 is none"),
    ],
)  # fmt: skip
def test_bytes_that_no_member_needs_are_refused(content: bytes, says: str) -> None:
    assert says in _refusal(content)


ZIP64_LOCATOR = b"PK\x06\x07" + bytes(16)
ZIP64_END = b"PK\x06\x06" + bytes(52)


@pytest.mark.parametrize(
    "content",
    [
        zipped(SOUND, behind=ZIP64_END + ZIP64_LOCATOR),
        zipped(SOUND, end={"entries": 0xFFFF, "entries_here": 0xFFFF}),
        zipped(SOUND, end={"directory": 0xFFFFFFFF}),
        zipped(SOUND, end={"directory_bytes": 0xFFFFFFFF}),
        zipped([Part(b"a", both={"compressed": 0xFFFFFFFF, "size": 0xFFFFFFFF})]),
        zipped([Part(b"a", entry={"offset": 0xFFFFFFFF})]),
        zipped([Part(b"a", extra=b"\x01\x00\x08\x00" + bytes(8))]),
    ],
)
def test_zip64_is_refused(content: bytes) -> None:
    assert _refusal(content)


def test_a_zip_with_a_hundred_thousand_entries_is_refused_without_reading_them() -> None:
    one = zipped([Part(b"a", b"", method=0)])
    local, entry = one[: one.index(b"PK\x01\x02")], one[one.index(b"PK\x01\x02") : -22]
    for count in (MAX_MEMBERS + 1, 100_000 % 65536, 65535):
        said: Lies = {
            "magic": b"PK\x05\x06", "entries": count, "entries_here": count,
            "directory": len(local) * 100_000, "directory_bytes": len(entry) * 100_000,
        }  # fmt: skip
        content = local * 100_000 + entry * 100_000 + packed(END, said)
        tracemalloc.start()
        assert f"{count} members" in _refusal(content)
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()


def test_the_most_members_are_read() -> None:
    parts = [Part(f"{number}.json".encode()) for number in range(MAX_MEMBERS)]
    assert len(read_laid_out(zipped(parts), "the archive")) == MAX_MEMBERS


# ---- names


@pytest.mark.parametrize(
    "name",
    [
        b"", b"/", b"/etc/passwd", b"..", b"../a", b"a/../b", b"a/..", b"./a", b"a//b", b"a/", b".a", b"a/.b",
        b"\\", b"a\\b", b"..\\a", b"C:a", b"C:\\a", b"a\0b", b"\0", b"a b", b"a\nb", b"-rf", b"a\x7f",
        "signature\u202ejson".encode(), "handler\u2024py".encode(), "\uff48andler.py".encode(), "é".encode(),
        b"\xff", b"\xc0\xae\xc0\xae/a", b"caf\x82", b"a" * 256, b"a/" * 30_000 + b"a",
    ],
)  # fmt: skip
def test_a_name_that_could_mean_another_file_is_refused(name: bytes) -> None:
    refusal = _refusal(zipped([FIRST, Part(name)]))
    assert "unsafe name" in refusal
    assert len(refusal) < 500
    assert refusal.isprintable()


@pytest.mark.parametrize("name", [b"a", b"_a", b"MAR-INF/x.json", b"a..b.pt", b"a/b/c", b"0", b"a" * 255])
def test_plain_names_are_taken(name: bytes) -> None:
    assert list(read_laid_out(zipped([Part(name)]), "the archive")) == [name.decode()]


@pytest.mark.parametrize("name", [b"handler.py", b"HANDLER.py"])
def test_a_member_that_is_there_twice_is_refused(name: bytes) -> None:
    assert "two members named" in _refusal(zipped([SECOND, Part(name, b"import os")]))


# ---- one zip, two contents


@pytest.mark.parametrize(
    "part",
    [
        Part(b"handler.py", local_name=b"handlex.py"),
        Part(b"handler.py", local_name=b"../handler"),
        Part(b"handler.py", local_name=b"handler"),
        Part(b"handler.py", local_extra=b"\x55\x54\x00\x00"),
        *(Part(b"a", local={field: 7777}) for field in list(LOCAL)[1:]),
        Part(b"a", local={"magic": b"PK\x03\x05"}),
        Part(b"a", both={"flags": 0}, local={"flags": 1 << 3}),
    ],
)
def test_a_local_header_that_says_something_else_is_refused(part: Part) -> None:
    assert "its local header differs" in _refusal(zipped([FIRST, part]))


def test_each_field_of_an_entry_is_compared_or_fixed() -> None:
    for field in ENTRY.keys() - {"magic"}:
        assert _refusal(zipped([Part(b"a", entry={field: 7777})]))
    assert "entry 1 is none" in _refusal(zipped([Part(b"a", entry={"magic": b"PK\x01\x03"})]))


def test_entries_that_point_into_each_other_are_refused() -> None:
    offset = zipped(SOUND).index(b"PK\x03\x04", 4)
    swapped = [Part(b"aaaa", entry={"offset": offset}), Part(b"bbbb", entry={"offset": 0})]
    assert "begins at byte" in _refusal(zipped(swapped))
    assert "begins at byte 0" in _refusal(zipped([Part(b"aaaa"), Part(b"aaab", entry={"offset": 0})]))


def test_a_member_inside_anothers_data_is_refused() -> None:
    inner = zipped([Part(b"b", b"evil", method=0)])
    local = inner[: inner.index(b"PK\x01\x02")]
    entry = inner[inner.index(b"PK\x01\x02") : -22]
    entry = entry[:-5] + (31).to_bytes(4, "little") + b"b"  # it begins where the first's data does
    end: Lies = {"entries": 2, "entries_here": 2}
    content = zipped([Part(b"a", local, method=0)], behind=entry, end=end)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("b") == b"evil"
    assert "member b: begins at byte 31" in _refusal(content)


def test_a_member_that_reaches_into_the_directory_is_refused() -> None:
    whole = len(deflated(b"content"))
    long: Lies = {"compressed": whole + 46}
    assert "its directory begins at" in _refusal(zipped([Part(b"a", both=long)]))


def test_members_in_another_order_than_their_entries_are_refused() -> None:
    content = zipped(SOUND)
    directory = content[DIRECTORY:-22]
    second = directory.index(b"PK\x01\x02", 4)
    assert "begins at byte" in _refusal(
        content[:DIRECTORY] + directory[second:] + directory[:second] + content[-22:]
    )


# ---- what a member is


@pytest.mark.parametrize(
    ("lies", "says"),
    [
        ({"flags": 1 << 0}, "has flags 0x1; accepted: none, so neither encryption"),
        ({"flags": 1 << 3}, "has flags 0x8"),
        ({"flags": 1 << 6}, "has flags 0x40"),
        ({"flags": 1 << 11}, "has flags 0x800"),
        ({"flags": 1 << 13}, "has flags 0x2000"),
        ({"method": 1}, "a method other than deflate"),
        ({"method": 9}, "a method other than deflate"),
        ({"method": 12}, "a method other than deflate"),
        ({"method": 14}, "a method other than deflate"),
        ({"method": 93}, "a method other than deflate"),
        ({"method": 99}, "a method other than deflate"),
        ({"needed": 45}, "not as `seqserve build` writes it"),
        ({"made_by": 20}, "not as `seqserve build` writes it"),
        ({"disk": 1}, "not as `seqserve build` writes it"),
        ({"internal": 1}, "not as `seqserve build` writes it"),
        ({"time": 1}, "not as `seqserve build` writes it"),
        ({"date": 34}, "not as `seqserve build` writes it"),
        ({"external": 0o120777 << 16}, "attributes 0xa1ff0000; accepted: 0x81a40000, a regular file"),
        ({"external": 0o120644 << 16}, "accepted: 0x81a40000, a regular file"),
        ({"external": 0o040755 << 16}, "accepted: 0x81a40000, a regular file"),
        ({"external": 0o010644 << 16}, "accepted: 0x81a40000, a regular file"),
        ({"external": 0o104644 << 16}, "accepted: 0x81a40000, a regular file"),
        ({"external": 0o100666 << 16}, "accepted: 0x81a40000, a regular file"),
        ({"external": 0o100755 << 16}, "accepted: 0x81a40000, a regular file"),
        ({"external": 0o644 << 16}, "accepted: 0x81a40000, a regular file"),
        ({"external": 0}, "accepted: 0x81a40000, a regular file"),
        ({"external": 0o100644 << 16 | 0x10}, "accepted: 0x81a40000, a regular file"),
    ],
)
def test_a_member_that_is_no_plain_file_is_refused(lies: Lies, says: str) -> None:
    shared = {field: value for field, value in lies.items() if field in LOCAL}
    assert says in _refusal(zipped([FIRST, Part(b"a", both=shared, entry=lies)]))


def test_an_entry_with_a_comment_or_an_extra_field_is_refused() -> None:
    assert "an extra field or a comment: 'a'" in _refusal(zipped([Part(b"a", comment=b"note")]))
    field = b"\x75\x70\x09\x00\x01" + bytes(4) + b"evil"  # the name in Unicode, which some readers prefer
    assert "an extra field or a comment: 'a'" in _refusal(zipped([Part(b"a", extra=field)]))


# ---- sizes


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (Part(b"a", both={"crc": 1}), "its content is not what its header says"),
        (Part(b"a", both={"size": 6}), "its content is not what its header says"),
        (Part(b"a", both={"size": 8}), "its content is not what its header says"),
        (Part(b"a", both={"size": 0}), "its content is not what its header says"),
        (Part(b"a", stored=deflated(b"content") + b"more"), "its content is not what its header says"),
        (Part(b"a", stored=deflated(b"content")[:-1]), "its content is not what its header says"),
        (Part(b"a", b"", stored=b""), "its content is not what its header says"),
        (Part(b"a", b"content", stored=deflated(b"content, and what Java reads")), "not what its header says"),
        (Part(b"a", stored=b"\xff" * 20), "Error -3"),
        (Part(b"a", method=0, both={"crc": 1}), "its content is not what its header says"),
        (Part(b"a", method=0, both={"size": 8}), "stored in 7 bytes, and 8 long"),
        (Part(b"a", both={"size": 2**20 + 1}), "inflates by more than 200"),
        (Part(b"a", both={"size": 0xFFFFFFFF}), "inflates by more than 200"),
        (Part(b"a.pt", bytes(2 * 2**20)), "inflates by more than 200"),
        (Part(b"a.json", b"12345678" * 2**20 + b"9", method=0), "has more than 8388608 bytes"),
    ],
)  # fmt: skip
def test_sizes_that_lie_are_refused(part: Part, says: str) -> None:
    assert says in _refusal(zipped([FIRST, part]))


def test_a_claim_alone_allocates_nothing() -> None:
    content = zipped([Part(b"a.pt", stored=deflated(bytes(1000)), both={"size": 2**20 - 1})] * 1)
    tracemalloc.start()
    assert "not what its header says" in _refusal(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**18


def test_a_member_is_inflated_no_further_than_its_header_says() -> None:
    content = zipped([Part(b"a.pt", stored=deflated(bytes(2**24)), both={"size": 1000, "crc": 0})])
    tracemalloc.start()
    assert "not what its header says" in _refusal(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**18


@pytest.mark.parametrize(("size", "is_taken"), [(2**29, True), (2**29 + 1, False)])
def test_members_may_claim_one_gigabyte_together(size: int, *, is_taken: bool) -> None:
    stored = bytes(size // 199)
    content = zipped([Part(name, stored=stored, both={"size": size}) for name in (b"a.pt", b"b.pt")])
    if is_taken:
        assert sum(member.size for member in check_layout(content, "the archive")) == 2**30
    else:
        with pytest.raises(ArchiveInvalid, match="inflates to more than 1073741824 bytes"):
            check_layout(content, "the archive")


def test_members_that_inflate_to_too_much_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped([Part(f"{number}.pt".encode(), bytes(2**20)) for number in range(5)])
    assert len(bomb) < 2**14
    assert len(read_laid_out(bomb, "the archive")) == 5
    monkeypatch.setattr(zip_layout, "MAX_UNCOMPRESSED_BYTES", 4 * 2**20)
    assert "the archive inflates to more than 4194304 bytes" in _refusal(bomb)


def test_a_zip_in_a_zip_stays_as_it_is() -> None:
    inner = zipped(SOUND)
    for _ in range(20):
        inner = zipped([Part(b"inner.zip", inner, method=0)])
    found = read_laid_out(inner, "the archive")
    assert list(found) == ["inner.zip"]
    assert len(found["inner.zip"]) < len(inner)


# ---- every bit


def test_a_flipped_bit_is_refused_or_changes_nothing_for_any_reader() -> None:
    content = zipped(SOUND)
    harmless = set()
    for position in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            try:
                found = read_laid_out(bytes(changed), "the archive")
            except ArchiveInvalid:
                continue
            assert found == MEMBERS == streamed(bytes(changed))
            harmless.add(position)
    # A deflate stream ends within a byte, and nobody reads the rest of that byte.
    assert harmless <= {member.data.stop - 1 for member in check_layout(content, "the archive")}
