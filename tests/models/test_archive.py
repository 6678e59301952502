"""What lies inside an archive."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from seqserve_models.archive import archive_members, pack
from seqserve_models.build import BuildResult
from seqserve_models.dataset import to_values
from seqserve_models.datasets import load_digits
from seqserve_models.errors import ArchiverFailed
from seqserve_models.evaluate import infer
from seqserve_models.export import load
from seqserve_models.members import Members, read_zip

MEMBERS = [
    "MAR-INF/MANIFEST.json",
    "SHA256SUMS",
    "digit_mlp.pt",
    "golden.npz",
    "handler.py",
    "index_to_name.json",
    "signature.json",
]


@pytest.fixture(scope="module")
def members(built: BuildResult) -> Members:
    return read_zip(built.path.read_bytes())


def test_an_archive_has_exactly_these_members_without_a_trace_of_when(built: BuildResult) -> None:
    with zipfile.ZipFile(built.path) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == MEMBERS
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_DEFLATED}
    assert len({entry.external_attr for entry in entries}) == 1


def test_every_other_member_has_its_sum(members: Members) -> None:
    lines = members["SHA256SUMS"].decode().splitlines()
    expected = [
        f"{hashlib.sha256(members[name]).hexdigest()}  {name}" for name in MEMBERS if name != "SHA256SUMS"
    ]
    assert lines == expected


def test_the_manifest_is_the_archivers_without_its_time(members: Members) -> None:
    manifest = json.loads(members["MAR-INF/MANIFEST.json"])
    assert "createdOn" not in manifest
    assert manifest["model"] == {
        "handler": "handler.py",
        "modelName": "digit_mlp",
        "modelVersion": "1",
        "serializedFile": "digit_mlp.pt",
    }


def test_the_signature_says_what_the_model_takes_and_gives(members: Members) -> None:
    signature = json.loads(members["signature.json"])
    training = signature.pop("training")
    assert signature == {
        "schema_version": 1,
        "name": "digit_mlp",
        "version": "1",
        "platform": "pytorch_torchscript",
        "task": "classification",
        "input": {"name": "image", "datatype": "FP32", "shape": [-1, 784]},
        "output": {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        "example_shapes": [
            {"shape": [784], "layout": "flat"},
            {"shape": [28, 28], "layout": "HW"},
            {"shape": [1, 28, 28], "layout": "CHW"},
            {"shape": [28, 28, 1], "layout": "HWC"},
        ],
        "minimum": 0.0,
        "maximum": 1.0,
        "labels": [str(digit) for digit in range(10)],
        "max_batch_size": 256,
        "tolerance": {
            "cpu": {"absolute": 1e-5, "relative": 1e-5},
            "cuda": {"absolute": 1e-4, "relative": 1e-3},
        },
    }
    assert (training["dataset"], training["seed"]) == ("digits", 0)
    assert training["libraries"]["torch"] == torch.__version__


def test_labels_are_in_torchserves_file_too(members: Members) -> None:
    assert json.loads(members["index_to_name.json"]) == {str(digit): str(digit) for digit in range(10)}


def test_golden_examples_are_held_out_images_and_the_archived_model_agrees(members: Members) -> None:
    with np.load(io.BytesIO(members["golden.npz"])) as golden:
        inputs, outputs = golden["inputs"], golden["outputs"]
    held_out = to_values(load_digits().test_inputs[:8]).reshape(8, 784)
    np.testing.assert_array_equal(inputs, held_out)
    assert (inputs.dtype, outputs.dtype, outputs.shape) == (np.float32, np.float32, (8, 10))
    answered = infer(load(members["digit_mlp.pt"]), inputs, batch_size=8)
    np.testing.assert_allclose(answered, outputs, rtol=1e-5, atol=1e-5)


def test_a_model_without_labels_has_no_file_of_labels() -> None:
    assert sorted(archive_members("line", b"script", b"{}", b"golden", ())) == [
        "golden.npz",
        "handler.py",
        "line.pt",
        "signature.json",
    ]


def test_the_archiver_works_in_folders_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    neighbour = tmp_path / "line" / "somebody's"
    neighbour.parent.mkdir()
    neighbour.touch()
    packed = pack("line", "3", archive_members("line", b"script", b"{}", b"golden", ()))
    assert read_zip(packed)["line.pt"] == b"script"
    assert [path.name for path in tmp_path.iterdir()] == ["line"]
    assert neighbour.exists()


def test_a_failure_of_the_archiver_is_told() -> None:
    with pytest.raises(ArchiverFailed, match="Model name contains special characters"):
        pack("two words", "1", archive_members("two words", b"script", b"{}", b"golden", ()))
