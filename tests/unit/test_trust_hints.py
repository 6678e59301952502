"""What a refusal says to do: who could attest the archive, and commands that a shell may be given as they are."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from seqserve.archive import read_archive
from seqserve.errors import ArchiveInvalid, ArchiveUntrusted
from seqserve.ownership import closing
from seqserve.printable import printable
from seqserve.trust import UNCHECKED, Trust
from support.archives import make_archive
from support.attesting import Signer, attest, refusal, trusting

RELEASE, FOREIGN = Signer(), Signer()


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return trusting(tmp_path / "trusted", release=RELEASE)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path)


@pytest.mark.parametrize(("foreign", "says"), [(2, "and 1 other"), (3, "and 2 others")])
def test_foreign_keys_are_counted(archive: Path, trust: Trust, foreign: int, says: str) -> None:
    attest(archive, *(Signer() for _ in range(foreign)))
    assert str(refusal(archive, trust)).endswith(says)


def test_of_many_trusted_keys_a_few_are_named_in_what_helps(archive: Path, tmp_path: Path) -> None:
    trust = trusting(tmp_path / "trusted", **{f"k{number}": Signer() for number in range(5)})
    attest(archive, FOREIGN)
    hint = refusal(archive, trust).hint
    assert hint.endswith("…) and 2 others")
    assert "k2 (" in hint
    assert "k3 (" not in hint


def test_what_helps_can_be_pasted_and_shows_no_name_that_a_terminal_obeys(
    tmp_path: Path, archive: Path, trust: Trust
) -> None:
    for name in ("ev$(id)-1.mar", "a\x1b]0;pwned\x07red\n2-1.mar"):
        other = archive.with_name(name)
        other.write_bytes(archive.read_bytes())
        with pytest.raises(ArchiveUntrusted) as refused:
            read_archive(other, trust)
        assert f"seqserve attest '{printable(name)}' --" in refused.value.hint
        assert refused.value.hint.isprintable()
        with pytest.raises(ArchiveInvalid) as invalid:
            read_archive(other, UNCHECKED)
        assert invalid.value.hint.isprintable()
        command = shlex.split(invalid.value.hint.rpartition(": ")[2])
        assert (command[0], command[1]) == ("sha256sum", printable(name))


def test_what_closes_a_store_can_be_pasted(tmp_path: Path) -> None:
    store = tmp_path / "my $(id) store"
    store.mkdir(mode=0o755)
    assert closing(store, store.stat()) == f"close it: chmod go-w '{store}'"
