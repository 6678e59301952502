"""What someone names as a model, loaded; and the words for what cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

from seqserve_models.errors import BuildError, ModelInvalid, TargetUnusable, UnknownModel
from seqserve_models.target import load_definition, load_target

NET = """
from torch import nn
from seqserve_models.zoo import find_model

READY = nn.Sequential(nn.Linear(4, 2))
DEFINED = find_model("digit_mlp")
LIST = nn.ModuleList([nn.ReLU()])
LONE = nn.Linear(4, 2)
NUMBER = 7

class Mine(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 3))

def build():
    return nn.Sequential(nn.Linear(4, 1))

def nothing():
    pass

def greedy(size):
    return nn.Sequential(nn.Linear(size, 1))

def _hidden():
    return READY
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with all that NAME can be; the current folder is another one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def outputs(model: nn.Sequential) -> int:
    first = model[0]
    assert isinstance(first, nn.Linear)
    return first.out_features


@pytest.mark.parametrize(("name", "size"), [("READY", 2), ("build", 1), ("Mine", 3), ("DEFINED", 32)])
def test_a_name_in_a_file_is_a_module_a_function_a_class_or_a_definition(
    net: Path, name: str, size: int
) -> None:
    assert outputs(load_target(f"{net}:{name}")) == size


def test_a_path_may_be_relative(net: Path) -> None:
    assert outputs(load_target("../net.py:build")) == 1


def test_a_model_of_the_zoo_needs_no_file() -> None:
    assert outputs(load_target("digit_mlp")) == 32


def test_a_module_of_a_package_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package_of_the_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sizes.py").write_text("SIZE = 6\n")
    (package / "net.py").write_text(
        "from torch import nn\nfrom .sizes import SIZE\n\ndef build():\n    return nn.Sequential(nn.Linear(1, SIZE))\n"
    )
    monkeypatch.chdir(tmp_path)

    assert outputs(load_target("package_of_the_test.net:build")) == 6


@pytest.mark.parametrize("folder", ["models", "."])
def test_the_users_own_models_package_is_the_one_that_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("SIZE = 9\n")
    (tmp_path / folder / "mine.py").write_text(
        "from torch import nn\n\ndef build():\n    from models import SIZE\n    return nn.Sequential(nn.Linear(1, SIZE))\n"
    )
    monkeypatch.chdir(tmp_path)
    try:
        assert outputs(load_target(f"{folder}/mine.py:build")) == 9
    finally:
        sys.modules.pop("models", None)


def test_where_python_looks_for_modules_is_as_before(net: Path) -> None:
    before = sys.path.copy()
    load_target(f"{net}:build")
    with pytest.raises(BuildError):
        load_target(f"{net}:nothing")

    assert sys.path == before


def test_a_file_named_as_a_module_of_ours_hides_nothing(net: Path) -> None:
    torch = sys.modules["torch"]
    path = net.rename(net.with_name("seqserve_models.py"))

    assert outputs(load_target(f"{path}:build")) == 1
    assert sys.modules["torch"] is torch
    assert sys.modules["seqserve_models"].__file__ != str(path)


@pytest.mark.parametrize(
    ("target", "error", "says", "hint"),
    [
        ("nobody", UnknownModel, "no model 'nobody' in the zoo", "FILE.py:NAME"),
        ("../net.py", UnknownModel, "no model '../net.py'", "FILE.py:NAME"),
        ("../net.py:", TargetUnusable, "'../net.py:' names no model", "FILE.py:NAME"),
        ("gone.py:build", TargetUnusable, "gone.py", "FILE.py:NAME"),
        ("../elsewhere:build", TargetUnusable, "there is no file ", "FILE.py:NAME"),
        ("no such:build", TargetUnusable, "'no such' is neither a Python file nor", "FILE.py:NAME"),
        ("no_such_one:build", TargetUnusable, "raises ModuleNotFoundError: No module named 'no_such_one'", ""),
        (
            "../net.py:buidl",
            TargetUnusable,
            "../net.py has no 'buidl'",
            "there: READY, DEFINED, LIST, LONE, Mine, build, nothing, greedy",
        ),
        ("../net.py:greedy", TargetUnusable, "raises TypeError: greedy() missing 1 required", ""),
        ("../net.py:nothing", ModelInvalid, "gives an object of class NoneType, not an nn.Sequential", ""),
        ("../net.py:LONE", ModelInvalid, "../net.py:LONE is an object of class Linear, not an nn.Sequential", ""),
        ("../net.py:NUMBER", ModelInvalid, "is an object of class int, not an nn.Sequential", ""),
        ("../net.py:LIST", ModelInvalid, "is an object of class ModuleList, not an nn.Sequential", "write nn.Sequential(*layers)"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_told_in_one_line(
    net: Path, target: str, error: type[BuildError], says: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        load_target(target)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("raise ValueError('first\\nsecond')", "raises ValueError: first", ""),
        ("raise KeyError", "raises KeyError: KeyError", ""),
        ("def (", "raises SyntaxError: invalid syntax (net.py, line 1)", ""),
        ("import no_such_one", "raises ModuleNotFoundError: No module named 'no_such_one'", ""),
        ("from .sizes import SIZE", "raises ImportError: attempted relative import", "package.module:NAME"),
        ("import sys\nsys.exit(3)", "raises SystemExit: 3", "__main__"),
    ],
)
def test_a_file_that_raises_is_named_with_type_and_first_line(
    net: Path, text: str, says: str, hint: str
) -> None:
    net.write_text(text)
    with pytest.raises(TargetUnusable) as caught:
        load_target(f"{net}:build")

    assert str(caught.value).startswith(f"importing {net} raises ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert hint in caught.value.hint


def test_a_file_in_which_nothing_is_a_model(net: Path) -> None:
    net.write_text("SIZE = 3\n")
    with pytest.raises(TargetUnusable) as caught:
        load_target(f"{net}:build")

    assert caught.value.hint == "nothing in it could be a model"


# ---- definitions, which can be built ----


DEFINITIONS = """
from dataclasses import replace
from seqserve_models.zoo import find_model

MINE = replace(find_model("digit_mlp"), name="mine")

def make():
    return replace(MINE, name="made")
"""


@pytest.mark.parametrize(("name", "called"), [("MINE", "mine"), ("make", "made")])
def test_a_definition_is_found_with_the_file_that_it_came_from(
    tmp_path: Path, name: str, called: str
) -> None:
    path = tmp_path / "own.py"
    path.write_text(DEFINITIONS)
    target = load_definition(f"{path}:{name}")
    assert target.definition.name == called
    assert target.source is not None
    assert target.source.place == str(path)
    assert str(tmp_path) in target.source.folders


def test_a_model_of_the_zoo_comes_from_no_file() -> None:
    target = load_definition("line")
    assert (target.definition.name, target.named, target.source) == ("line", "line", None)


@pytest.mark.parametrize(
    ("name", "says"), [("build", "gives an object of class Sequential"), ("READY", "is an object of class")]
)
def test_a_network_alone_cannot_be_built(net: Path, name: str, says: str) -> None:
    with pytest.raises(ModelInvalid, match=f"{says}.*, not a ModelDefinition") as caught:
        load_definition(f"{net}:{name}")
    assert "seqserve new" in caught.value.hint
