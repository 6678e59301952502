"""When a batch waits for others, and when it has learned that nobody comes."""

from __future__ import annotations

from seqserve.batching.company import BATCHES_A_LOOK, LONELY_BATCHES, Company


def a_lonely_one() -> Company:
    company = Company()
    for _ in range(LONELY_BATCHES):
        assert company.is_likely()
        company.note(1)
    return company


def test_who_is_always_alone_is_soon_not_kept_waiting() -> None:
    assert not a_lonely_one().is_likely()


def test_one_batch_in_so_many_looks_whether_that_still_holds() -> None:
    company = a_lonely_one()

    looks = [company.is_likely() for _ in range(3 * BATCHES_A_LOOK)]

    assert looks.count(True) == 3
    assert looks[BATCHES_A_LOOK - 1]


def test_one_batch_with_company_is_enough_for_the_next_to_wait() -> None:
    company = a_lonely_one()
    while not company.is_likely():
        pass
    company.note(2)

    assert company.is_likely()
