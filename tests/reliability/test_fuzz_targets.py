"""Each fuzz target over its seeds, over what once crashed it, and over some inputs that are made without a fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.mutator import Mutator
from fuzz.target import Target
from fuzz.targets import TARGETS

SEED = 1


def check(target: Target, inputs: list[bytes]) -> None:
    """All; a crash is told with its input."""
    for data in inputs:
        try:
            target.check(data)
        except Exception as error:
            path = target.crash_path(data)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            error.add_note(f"python -m fuzz {target.name} --reproduce {path}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_is_read_rightly_or_refused(name: str) -> None:
    target = TARGETS[name]
    check(target, target.inputs())
    check(target, list(Mutator(target, SEED).mutated(target.few)))


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_differ_and_are_the_same_each_time(name: str) -> None:
    inputs = list(Mutator(TARGETS[name], SEED).mutated(50))
    assert inputs == list(Mutator(TARGETS[name], SEED).mutated(50))
    assert len({*inputs}) > 25
    assert max(map(len, inputs)) <= TARGETS[name].max_bytes


def test_a_reader_that_lets_an_error_through_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The control: a check that fails where two bytes follow one another."""

    def fragile(data: bytes) -> None:
        if b"FP" in data and b"FP32" not in data:
            raise ValueError("not one of ours")

    monkeypatch.setattr("fuzz.target.CRASHES", tmp_path)
    target = Target("control", fragile, lambda: [b"\0\1FP32\2\3"])
    with pytest.raises(ValueError, match="not one of ours") as found:
        check(target, list(Mutator(target, SEED).mutated(1000)))

    assert "--reproduce" in found.value.__notes__[0]
