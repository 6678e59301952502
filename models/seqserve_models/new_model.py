"""Writes a commented example of a model of one's own, to begin with."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path

from seqserve_models.errors import FileExists, SettingInvalid, StoreUnwritable

NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,63}")
EXAMPLE_NAME = "example_model"
# In capitals they would be two things in one file.
CONSTANTS = ("features", "species")


def write_new_model(name: str, folder: Path) -> Path:
    """NAME.py with a definition called NAME in capitals.

    Raises SettingInvalid, FileExists, StoreUnwritable.
    """
    if NAME_PATTERN.fullmatch(name) is None or keyword.iskeyword(name):
        raise SettingInvalid(f"name {name!r}", hint="small letters, digits and _, a letter first: my_model")
    text = Path(__file__).with_name(f"{EXAMPLE_NAME}.py").read_text(encoding="utf-8")
    if name in CONSTANTS:
        raise SettingInvalid(f"name {name!r}", hint=f"the example has a {name.upper()} of its own")
    if importlib.util.find_spec(name) is not None:
        raise SettingInvalid(f"name {name!r}", hint=f"{name}.py would hide a module of that name")
    text = text.replace(EXAMPLE_NAME, name).replace(EXAMPLE_NAME.upper(), name.upper())
    path = folder / f"{name}.py"
    try:
        with path.open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError as error:
        raise FileExists(f"{path} is there already", hint="choose another name, or move it away") from error
    except OSError as error:
        raise StoreUnwritable(f"{path} cannot be written: {error.strerror or error}") from error
    return path
