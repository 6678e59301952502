"""Golden rows by somebody who wrote the sums and the sidecar too: read as they are, or refused."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqserve.archive_golden import read_golden
from seqserve.errors import ArchiveInvalid
from seqserve.signature import Signature
from support.archives import npy, npz
from support.contract import signature_document
from support.zips import ENTRY, Lies, Part, deflated, packed, zipped

TINY = Signature.parse(signature_document("tiny_image"))
ROWS = npy(np.full((2, 6), 0.5, np.float32))
OUTPUTS = npy(np.full((2, 2), 0.5, np.float32))


def test_golden_rows_as_numpy_writes_them_are_read() -> None:
    rows, outputs = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 6), np.full((2, 2), 0.5, np.float32)
    for save in (np.savez, np.savez_compressed):
        written = io.BytesIO()
        save(written, inputs=rows, outputs=outputs)
        found = read_golden(written.getvalue(), TINY)
        np.testing.assert_array_equal(found[0], rows)
        np.testing.assert_array_equal(found[1], outputs)


def _npy_header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999999999, 6), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 4000 + ", 6), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "2, " * 9000 + "), }\n",
        "{'descr': " + "[" * 9000 + "]" * 9000 + "}\n",
        "-" * 9000 + "1\n",
        "(" * 60_000,
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 6), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 6L), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 6), }\n",
        "__import__('os').system('true')\n",
    ],
    ids=range(10),
)
def test_the_header_of_an_array_allocates_nothing_and_runs_nothing(header: str) -> None:
    rows = np.full(12, 0.5, np.float32).tobytes()
    document = zipped([Part(b"inputs.npy", _npy_header(header) + rows), Part(b"outputs.npy", OUTPUTS)])
    tracemalloc.start()
    with pytest.raises(ArchiveInvalid, match="inputs"):
        read_golden(document, TINY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("more", [-64, -1, 1, 4])
def test_a_header_whose_length_is_another_is_refused(more: int) -> None:
    """NumPy itself would begin to read the numbers elsewhere."""
    changed = ROWS[:8] + (int.from_bytes(ROWS[8:10], "little") + more).to_bytes(2, "little") + ROWS[10:]
    document = zipped([Part(b"inputs.npy", changed), Part(b"outputs.npy", OUTPUTS)])
    with pytest.raises(ArchiveInvalid, match="inputs is no NumPy array"):
        read_golden(document, TINY)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_golden_array_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    changed = bytearray(ROWS)
    for at, value in changes:
        changed[at % len(changed)] = value
    document = zipped([Part(b"inputs.npy", bytes(changed)), Part(b"outputs.npy", OUTPUTS)])
    try:
        inputs, _ = read_golden(document, TINY)
    except ArchiveInvalid:
        return
    assert inputs.shape == (2, 6)


def test_golden_rows_that_are_a_bomb_are_refused() -> None:
    bomb = npz(inputs=np.zeros((2**18, 6), np.float32), outputs=np.zeros((2, 2), np.float32))
    assert len(bomb) < 2**15
    with pytest.raises(ArchiveInvalid, match=r"member inputs.npy: inflates by more than 200"):
        read_golden(bomb, TINY)


def _golden(inputs: Part) -> bytes:
    return zipped([inputs, Part(b"outputs.npy", OUTPUTS)])


def _zip64(value: int) -> bytes:
    """The extra field that takes the place of a field of 0xFFFFFFFF."""
    return struct.pack("<HHQ", 1, 8, value)


@pytest.mark.parametrize("offset", [10**6, 2**63 - 1, 2**63, 2**64 - 1])
def test_golden_rows_that_lie_outside_their_file_are_refused(offset: int) -> None:
    part = Part(b"inputs.npy", ROWS, entry={"offset": 0xFFFFFFFF}, extra=_zip64(offset))
    with pytest.raises(ArchiveInvalid, match=r"member inputs.npy: .* bytes behind byte .*, in a file of"):
        read_golden(_golden(part), TINY)


@pytest.mark.parametrize("compressed", [2**20, 2**62, 2**64 - 1])
def test_golden_rows_that_claim_more_bytes_than_there_are_are_refused(compressed: int) -> None:
    """Else the bound of the ratio would be as high as anybody claims."""
    bomb = npy(np.zeros((2**18, 6), np.float32))
    part = Part(b"inputs.npy", bomb, entry={"compressed": 0xFFFFFFFF}, extra=_zip64(compressed))
    tracemalloc.start()
    with pytest.raises(ArchiveInvalid, match=r"member inputs.npy: .* bytes behind byte .*, in a file of"):
        read_golden(_golden(part), TINY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_golden_rows_that_share_their_bytes_are_refused() -> None:
    """Else the same bytes would be inflated again for each name."""
    rows = npy(np.full((200, 6), 0.5, np.float32))
    both: Lies = {"compressed": 2 * len(rows), "size": 2 * len(rows), "offset": 0}
    parts = [Part(name, rows, method=0, entry=both) for name in (b"inputs.npy", b"outputs.npy")]
    with pytest.raises(ArchiveInvalid, match="has fewer bytes than its members claim"):
        read_golden(zipped(parts), TINY)


def test_golden_rows_among_a_hundred_thousand_others_are_refused_without_reading_them() -> None:
    entry = packed(ENTRY, {"magic": b"PK\x01\x02", "name_bytes": 1}) + b"a"
    content = zipped([Part(b"inputs.npy")], behind=entry * 100_000)
    tracemalloc.start()
    with pytest.raises(ArchiveInvalid, match=r"golden.npz has more than 256 members"):
        read_golden(content, TINY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize(
    "name", [b"inputs.npy", b"inputs.npy\0", b"../inputs.npy", b"a\\inputs.npy", b"Inputs.npy", b"more.npy"]
)
def test_nothing_but_two_arrays_is_read(name: bytes) -> None:
    content = zipped([Part(b"inputs.npy", ROWS), Part(b"outputs.npy", OUTPUTS), Part(name, ROWS)])
    with pytest.raises(ArchiveInvalid, match=r"holds \[.*\], not \['inputs.npy', 'outputs.npy'\]"):
        read_golden(content, TINY)
    with pytest.raises(ArchiveInvalid, match=r"holds \[.*\], not \['inputs.npy', 'outputs.npy'\]"):
        read_golden(zipped([Part(b"outputs.npy", OUTPUTS), Part(name + b"x", ROWS)]), TINY)


@pytest.mark.parametrize("method", [1, 9, 12, 14, 93, 99])
def test_golden_rows_that_are_not_deflated_are_refused(method: int) -> None:
    part = Part(b"inputs.npy", ROWS, both={"method": method})
    with pytest.raises(ArchiveInvalid, match=r"member inputs.npy: compressed by a method other than deflate"):
        read_golden(_golden(part), TINY)


@pytest.mark.parametrize(
    ("lies", "says"),
    [
        ({"size": len(ROWS) + 1}, "its header says"),
        ({"size": 2**20 + 1}, "inflates by more than 200"),
        ({"crc": 1}, "no readable zip: Bad CRC-32"),
        ({"flags": 1}, "no readable zip: .* is encrypted"),
    ],
)
def test_golden_rows_whose_header_lies_are_refused(lies: Lies, says: str) -> None:
    with pytest.raises(ArchiveInvalid, match=says):
        read_golden(_golden(Part(b"inputs.npy", ROWS, both=lies)), TINY)


def _beyond_the_end() -> bytes:
    empty = Part(b"outputs.npy", b"", method=0)
    length = len(zipped([Part(b"inputs.npy", ROWS, method=0), empty]))
    claimed: Lies = {"compressed": length, "size": length}
    return zipped([Part(b"inputs.npy", ROWS, method=0, entry=claimed), empty])


@pytest.mark.parametrize(
    "content",
    [
        _golden(Part(b"inputs.npy", stored=b"\xff" * 99)),
        _golden(Part(b"inputs.npy", ROWS, both={"flags": 1 << 5})),
        _golden(Part(b"inputs.npy", ROWS, both={"flags": 1 << 6})),
        _golden(Part(b"inputs.npy\xff", ROWS, both={"flags": 1 << 11})),
        _golden(Part(b"inputs.npy", ROWS, both={"needed": 99})),
        _beyond_the_end(),
    ],
    ids=["no deflate", "patched", "encrypted", "no UTF-8", "a later zip", "beyond the end"],
)
def test_what_zipfile_does_not_read_is_refused(content: bytes) -> None:
    with pytest.raises(ArchiveInvalid, match=r"golden.npz is no readable zip"):
        read_golden(content, TINY)


def test_golden_rows_are_inflated_no_further_than_their_header_says() -> None:
    part = Part(b"inputs.npy", stored=deflated(bytes(2**24)), both={"size": len(ROWS)})
    content = _golden(part)
    tracemalloc.start()
    with pytest.raises(ArchiveInvalid, match="inputs"):
        read_golden(content, TINY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**19


def test_golden_rows_may_not_claim_more_than_one_gigabyte_together() -> None:
    stored = bytes(2**29 // 199)
    parts = [Part(name, stored=stored, both={"size": 2**29 + 1}) for name in (b"inputs.npy", b"outputs.npy")]
    with pytest.raises(ArchiveInvalid, match=r"golden.npz inflates to more than 1073741824 bytes"):
        read_golden(zipped(parts), TINY)
