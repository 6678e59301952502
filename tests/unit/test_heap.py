"""What the C library and Python's collector are told."""

from __future__ import annotations

import ctypes
import gc
import platform

import pytest

from seqserve import heap


class Library:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, size: int) -> int:
        self.asked.append((parameter, size))
        return 1


def test_freed_memory_is_kept_and_large_messages_come_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)

    heap.keep_heap()

    # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX
    assert dict(library.asked) == {-1: 64 * 2**20, -3: 32 * 2**20, -8: 2}


def test_a_c_library_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())

    heap.keep_heap()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_glibc_takes_sizes_of_that_kind() -> None:
    mallopt = ctypes.CDLL(None).mallopt

    assert mallopt(heap.M_MMAP_THRESHOLD, heap.LARGEST_IN_HEAP_BYTES) == 1
    assert mallopt(heap.M_TRIM_THRESHOLD, heap.KEPT_BYTES) == 1
    assert mallopt(heap.M_ARENA_MAX, heap.ARENAS) == 1


def test_what_is_there_is_not_collected_again() -> None:
    before = gc.get_freeze_count()
    try:
        heap.freeze_collector()
        assert gc.get_freeze_count() > before + 1000
        assert len(gc.get_objects()) < 1000
    finally:
        gc.unfreeze()


def test_garbage_that_comes_later_does_not_wait_for_as_much_of_it_as_there_was_before() -> None:
    stays = [[index] for index in range(100_000)]
    try:
        heap.freeze_collector()
        before = gc.get_stats()[2]["collections"]
        for _ in range(300_000):
            cycle: list[object] = []
            cycle.append(cycle)
        assert gc.get_stats()[2]["collections"] > before
    finally:
        gc.unfreeze()
    assert len(stays) == 100_000
