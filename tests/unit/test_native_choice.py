"""Which front answers gRPC."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from seqserve.errors import DependencyMissing
from seqserve.native_front import library
from seqserve.native_front.choice import STRANGERS, Front, choose_front
from seqserve.settings import Settings

EXTENSION = library.EXTENSION


class Extensions:
    """What an import of the extension does."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def is_built(self) -> None:
        self._patch.setattr(library, "_extension", lambda: sys)

    def is_missing(self) -> None:
        self._finds(ModuleNotFoundError(f"No module named {EXTENSION!r}"))

    def breaks(self, words: str) -> None:
        self._finds(ImportError(words))

    def _finds(self, fault: ImportError) -> None:
        class Finder:
            def find_spec(self, name: str, *_: object) -> None:
                if name == EXTENSION:
                    raise fault

        self._patch.delitem(sys.modules, EXTENSION, raising=False)
        self._patch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[Extensions]:
    library._extension.cache_clear()  # noqa: SLF001 - what this process found before
    yield Extensions(monkeypatch)
    monkeypatch.undo()
    library._extension.cache_clear()  # noqa: SLF001


@pytest.mark.parametrize(
    ("given", "front"),
    [
        ({}, Front("native")),
        ({"host": "::1"}, Front("native")),
        ({"host": "0.0.0.0"}, Front("python", STRANGERS)),
        ({"host": "0.0.0.0", "behind_proxy": True}, Front("native")),
        ({"host": "0.0.0.0", "front": "native"}, Front("native")),
        ({"front": "python"}, Front("python")),
    ],
    ids=str,
)
def test_where_it_is_built_the_address_decides(
    extension: Extensions, given: dict[str, object], front: Front
) -> None:
    extension.is_built()
    assert choose_front(Settings.model_validate(given)) == front


@pytest.mark.parametrize("given", [{}, {"host": "0.0.0.0"}, {"front": "python"}], ids=str)
def test_where_it_is_not_built_python_answers(extension: Extensions, given: dict[str, object]) -> None:
    extension.is_missing()
    assert choose_front(Settings.model_validate(given)) == Front("python")


def test_who_asks_for_what_is_not_built_is_told_how_to_build_it(extension: Extensions) -> None:
    extension.is_missing()
    with pytest.raises(DependencyMissing, match=r"^the native front is not built$") as refused:
        choose_front(Settings(front="native"))
    assert "make native" in refused.value.hint


def test_who_asks_for_what_does_not_load_hears_the_loaders_words(extension: Extensions) -> None:
    extension.breaks("libgrpc++.so.1.51: cannot open shared object file\nand more")
    assert choose_front(Settings()) == Front("python")
    with pytest.raises(
        DependencyMissing, match=r"does not load: libgrpc\+\+\.so\.1\.51: cannot open .* file$"
    ):
        choose_front(Settings(front="native"))
