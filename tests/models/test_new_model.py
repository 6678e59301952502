"""The example that `seqserve new` writes: it builds as it is, and overwrites nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqserve_models import example_model
from seqserve_models.build import build
from seqserve_models.definition_check import check_definition
from seqserve_models.errors import FileExists, SettingInvalid, StoreUnwritable
from seqserve_models.new_model import write_new_model
from seqserve_models.plan import BuildSettings
from seqserve_models.target import load_definition
from support.command import seqserve


def test_what_is_written_builds_a_good_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = seqserve("new", "flowers")
    assert (ended.status, ended.errors) == (0, "")
    assert "seqserve build flowers.py:FLOWERS" in ended.output
    assert "example_model" not in Path("flowers.py").read_text().lower()

    checked = seqserve("check", "flowers.py:FLOWERS", "--input-shape", "4")
    assert checked.status == 0
    (result,) = build(["flowers.py:FLOWERS"], BuildSettings(output=tmp_path / "store"))
    assert result.name == "flowers"
    assert result.evaluation.metrics["accuracy"] >= 0.9


@pytest.mark.parametrize(
    "name", ["", "9lives", "My_model", "a-b", "class", "../up", "a.py", "x" * 65, "\u0661", "a\n", "_a"]
)
def test_a_name_that_python_would_not_take_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingInvalid, match="name "):
        write_new_model(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["torch", "sklearn", "random", "sys", "seqserve_models"])
def test_a_file_that_would_hide_a_module_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        write_new_model(name, tmp_path)
    assert caught.value.hint == f"{name}.py would hide a module of that name"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["features", "species"])
def test_a_name_that_the_example_needs_itself_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        write_new_model(name, tmp_path)
    assert caught.value.hint == f"the example has a {name.upper()} of its own"
    assert list(tmp_path.iterdir()) == []


def test_every_other_capital_of_the_example_is_free() -> None:
    own = {name for name in vars(example_model) if name.isupper()}
    assert own == {"EXAMPLE_MODEL", "FEATURES", "SPECIES"}


@pytest.mark.parametrize("name", ["a", "load", "example_model", "my_example_model"])
def test_other_names_give_a_definition_that_is_sound(tmp_path: Path, name: str) -> None:
    definition = load_definition(f"{write_new_model(name, tmp_path)}:{name.upper()}").definition
    assert definition.name == name
    assert [row.output for row in check_definition(definition)][-1] == (3,)


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable, match=r"a\.py cannot be written: No such file"):
        write_new_model("a", tmp_path / "gone")


def test_the_command_refuses_on_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("precious")
    assert seqserve("new", "mine").status == 2
    assert seqserve("new", "mine").one_line.startswith("seqserve: mine.py is there already")
    assert "small letters, digits and _" in seqserve("new", "mine.py").one_line
    assert Path("mine.py").read_text() == "precious"


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("precious")
    with pytest.raises(FileExists, match="is there already"):
        write_new_model("mine", tmp_path)
    assert (tmp_path / "mine.py").read_text() == "precious"
