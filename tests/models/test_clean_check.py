"""Archives are loaded in a process that has nothing of what they were made of."""

from __future__ import annotations

import importlib
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seqserve_models import clean_load
from seqserve_models.clean_check import load_clean
from seqserve_models.errors import ExportFailed
from seqserve_models.members import write_zip
from seqserve_models.source import Source
from seqserve_models.threads import fixed_threads

INPUTS = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))


class Halving(nn.Module):
    """Another one of this name adds instead."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values / 2


def adding() -> nn.Module:
    """A layer whose class has the name of the other one."""

    class Halving(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values + 1

    Halving.__qualname__ = "Halving"
    return Halving()


def archive_of(name: str, module: nn.Module, outputs: torch.Tensor | None = None) -> bytes:
    """The members that are looked at; outputs: as the golden rows tell them, None takes the module's own."""
    script, golden = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():  # TorchScript's deprecation is no news here
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(module.eval())
        torch.jit.save(scripted, script)
    rows = scripted(INPUTS) if outputs is None else outputs
    np.savez(golden, inputs=INPUTS.numpy(), outputs=rows.detach().numpy())
    signature = {"name": name, "tolerance": {"cpu": {"absolute": 1e-5, "relative": 1e-5}}}
    return write_zip(
        {
            f"{name}.pt": script.getvalue(),
            "golden.npz": golden.getvalue(),
            "signature.json": json.dumps(signature).encode(),
        }
    )


def test_several_archives_load_in_one_process_though_their_classes_have_one_name() -> None:
    halving, other = nn.Sequential(nn.Linear(4, 2), Halving()), nn.Sequential(adding(), nn.ReLU())
    load_clean([archive_of("m", halving), archive_of("m", other), archive_of("m", halving)])


def test_the_archive_that_answers_otherwise_is_named() -> None:
    with pytest.raises(ExportFailed, match=r"odd: differs by up to 0\.001"):
        load_clean([archive_of("good", Halving()), archive_of("odd", Halving(), INPUTS / 2 + 1e-3)])


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        (INPUTS / 2 + 1e-3, "m: differs by up to 0.001"),
        (INPUTS * torch.nan, "m: differs by up to nan"),
        (INPUTS[:1].expand(2, 3, 4) / 2, "m: answers [3, 4], not [2, 3, 4]"),
        (INPUTS[0] / 2, "m: answers [3, 4], not [4]"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.load. is deprecated:DeprecationWarning")
def test_answers_are_compared_in_shape_and_numbers(tmp_path: Path, outputs: torch.Tensor, says: str) -> None:
    path = tmp_path / "m.mar"
    path.write_bytes(archive_of("m", Halving()))
    clean_load.check(str(path))
    path.write_bytes(archive_of("m", Halving(), outputs))
    with pytest.raises(ValueError, match=r"^m: ") as caught:
        clean_load.check(str(path))
    assert says in str(caught.value)


@pytest.mark.usefixtures("real_interpreters")
def test_torchscript_that_needs_the_code_it_was_made_of_is_refused() -> None:
    library: Any = torch.library.Library("of_this_test", "DEF")  # type: ignore[no-untyped-call]  # torch's
    library.define("halved(Tensor values) -> Tensor")
    library.impl("halved", lambda values: values / 2, "CompositeExplicitAutograd")

    class Needing(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return torch.ops.of_this_test.halved(values)  # type: ignore[no-any-return]

    with pytest.raises(ExportFailed, match=r"without the code it was made of: .*of_this_test::halved"):
        load_clean([archive_of("m", Needing())], [Source("here.py", ())])


def test_what_is_hidden_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", sys.meta_path.copy())
    for name in ("colorsys", "wave"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with fixed_threads():
        clean_load.main("seqserve_models,colorsys")
    assert importlib.import_module("wave")
    for name in ("colorsys", "seqserve_models.no_such_module"):
        with pytest.raises(ImportError, match=f"{name} is hidden here"):
            importlib.import_module(name)
