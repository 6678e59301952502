"""Signatures that somebody has written for `seqserve package`."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import pytest

from seqserve.signature import Signature
from seqserve_models.build import BuildResult
from seqserve_models.errors import BuildError, ModelInvalid, SignatureUnusable
from seqserve_models.interface_file import read_interface
from seqserve_models.signature import signature_document
from seqserve_models.zoo import find_model

MINIMAL: dict[str, Any] = {
    "name": "mine",
    "input": {"name": "x", "shape": [-1, 4]},
    "output": {"name": "p", "shape": [-1, 3]},
}


def written(folder: Path, document: object) -> Path:
    path = folder / "signature.json"
    path.write_text(json.dumps(document))
    return path


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    interface = read_interface(written(tmp_path, MINIMAL)).interface()
    assert (interface.name, interface.task) == ("mine", "classification")
    assert (interface.input_shape, interface.output_shape) == ((4,), (3,))
    assert [example.shape for example in interface.accepted_shapes] == [(4,)]


def test_an_archives_own_signature_fits(tmp_path: Path, built: BuildResult) -> None:
    with zipfile.ZipFile(built.path) as archive:
        read = read_interface(written(tmp_path, json.loads(archive.read("signature.json"))))
    definition, interface = find_model("digit_mlp"), read.interface()
    assert interface.accepted_shapes == definition.accepted_shapes
    assert (interface.labels, interface.maximum) == (definition.labels, definition.maximum)
    assert read.training["dataset"] == "digits"


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"inputs": {}}, SignatureUnusable, "inputs: Extra inputs are not permitted"),
        ({"input": None}, SignatureUnusable, "input: "),
        ({"output": {"name": "p"}}, SignatureUnusable, r"output\.shape: Field required"),
        ({"input": {"name": "x"}}, SignatureUnusable, r"input\.shape: Field required"),
        (
            {"input": {"name": "x", "shape": [-1, "4"]}},
            SignatureUnusable,
            r"input\.shape\.1: .* valid integer",
        ),
        (
            {"input": {"name": "x", "shape": [-1, 4.0]}},
            SignatureUnusable,
            r"input\.shape\.1: .* valid integer",
        ),
        (
            {"input": {"name": "x", "shape": [-1, 4], "datatype": "FP16"}},
            SignatureUnusable,
            r"input\.datatype: Input should be 'FP32'",
        ),
        ({"input": {"name": "x", "shape": [-1, -1]}}, ModelInvalid, r"mine: input_shape \[-1\]"),
        ({"max_batch_size": "many"}, SignatureUnusable, "max_batch_size: .* valid integer"),
        ({"max_batch_size": "12"}, SignatureUnusable, "max_batch_size: .* valid integer"),
        ({"minimum": "0"}, SignatureUnusable, "minimum: .* valid number"),
        ({"minimum": math.nan}, SignatureUnusable, "NaN is no number of JSON"),
        ({"training": {"loss": -math.inf}}, SignatureUnusable, "-Infinity is no number of JSON"),
        ({"task": "ranking"}, SignatureUnusable, "task: Input should be 'classification' or"),
        (
            {"example_shapes": [{"shape": [4], "layout": "W"}]},
            SignatureUnusable,
            r"example_shapes\.0\.layout: ",
        ),
        (
            {"example_shapes": [{"shape": [5]}]},
            ModelInvalid,
            r"example_shapes: \[5\] has 5 numbers, the input 4",
        ),
        ({"resize": "yes"}, SignatureUnusable, "resize: .* valid boolean"),
        ({"invert": 1}, SignatureUnusable, "invert: .* valid boolean"),
        ({"resize": True}, ModelInvalid, "mine: resize is for pictures"),
        ({"schema_version": 2}, SignatureUnusable, "schema_version: "),
        ({"labels": ["a", "b", 3]}, SignatureUnusable, r"labels\.2: .* valid string"),
        ({"output": {"name": "p", "shape": [3]}}, SignatureUnusable, r"output\.shape is \[3\]; accepted: -1"),
        ({"input": {"name": "x", "shape": [4]}}, SignatureUnusable, r"input\.shape is \[4\]; accepted: -1"),
        ({"input": {"name": "x", "shape": []}}, SignatureUnusable, r"input\.shape is \[\]"),
        ({"labels": ["a"]}, ModelInvalid, r"labels has 1 for an output_shape of \[3\]"),
        ({"name": "a/b"}, ModelInvalid, "name 'a/b'"),
    ],
)
def test_a_wrong_field_is_named(
    tmp_path: Path, change: dict[str, Any], error: type[BuildError], says: str
) -> None:
    with pytest.raises(error, match=says):
        read_interface(written(tmp_path, MINIMAL | change)).interface()


PICTURES = {
    "input": {"name": "image", "shape": [-1, 4]},
    "example_shapes": [{"shape": [2, 2], "layout": "HW"}],
}


def test_pictures_are_resized_and_inverted_where_it_is_written(tmp_path: Path) -> None:
    for field, other in (("resize", "invert"), ("invert", "resize")):
        interface = read_interface(written(tmp_path, MINIMAL | PICTURES | {field: True})).interface()
        assert getattr(interface, field)
        assert not getattr(interface, other)
        archived = signature_document(interface, "1", {})
        assert getattr(Signature.parse(archived), field)
        document = json.loads(archived)
        assert document[field] is True
        assert other not in document
        again = read_interface(written(tmp_path, document)).interface()
        assert again == interface


@pytest.mark.parametrize("missing", ["name", "input", "output"])
def test_what_has_no_default_must_be_there(tmp_path: Path, missing: str) -> None:
    document = {name: field for name, field in MINIMAL.items() if name != missing}
    with pytest.raises(SignatureUnusable, match=f"signature.json: {missing}: Field required"):
        read_interface(written(tmp_path, document))


def test_what_is_no_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signature.json"
    with pytest.raises(SignatureUnusable, match="cannot be read: No such file"):
        read_interface(path)
    for text, says in (("{", "Invalid JSON"), ("", "Invalid JSON"), ("[1]", "an object")):
        path.write_text(text)
        with pytest.raises(SignatureUnusable, match=f"the document: .*{says}"):
            read_interface(path)
    path.write_bytes(b'"\xff"')
    with pytest.raises(SignatureUnusable, match="the document: Invalid JSON"):
        read_interface(path)
    with pytest.raises(SignatureUnusable, match="cannot be read: Is a directory"):
        read_interface(tmp_path)
