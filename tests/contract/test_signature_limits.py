"""How large a model may be: refused before it is trained where the gateway would not take its archive."""

from __future__ import annotations

import itertools
import math

import pytest

from seqserve.errors import ArchiveInvalid
from seqserve.signature import Signature
from seqserve.zip_layout import check_layout
from seqserve_models.archive import archive_members, pack
from seqserve_models.definition import ExampleShape, ModelInterface
from seqserve_models.definition_check import check_interface
from seqserve_models.errors import ModelInvalid
from seqserve_models.signature import signature_document
from support.contract import Case, cases

LIMITS = cases("signature_limits.json")


def _interface(case: Case) -> ModelInterface:
    labels = tuple(f"{number:0{case['characters']}}" for number in range(case.get("labels", 0)))
    return ModelInterface(
        name="sized",
        **{field: case[field] for field in ("input_name", "output_name") if field in case},
        input_shape=tuple(case["input"]),
        output_shape=tuple(case["output"]),
        example_shapes=tuple(ExampleShape(shape, "flat") for shape in _shapes(case)),
        labels=labels,
        max_batch_size=case["max_batch_size"],
    )


def _shapes(case: Case) -> list[tuple[int, ...]]:
    """So many different shapes of the input's size; the input's own where none are asked for."""
    if "example_shapes" not in case:
        return []
    sizes = [2**power for power in range(math.prod(case["input"]).bit_length())]
    found = (
        shape for shape in itertools.product(sizes, repeat=4) if math.prod(shape) == math.prod(case["input"])
    )
    return list(itertools.islice(found, case["example_shapes"]))


def _named(case: Case) -> str:
    name: str = case["case"]
    return name


@pytest.mark.parametrize("case", LIMITS, ids=_named)
def test_the_build_side_and_the_gateway_take_the_same(case: Case) -> None:
    interface = _interface(case)
    document = signature_document(interface, "1", {})
    if "refused" not in case:
        check_interface(interface)
        assert Signature.parse(document).labels == list(interface.labels)
        assert len(document) < 2**23
        return
    with pytest.raises(ModelInvalid, match=case["refused"]):
        check_interface(interface)
    with pytest.raises(ArchiveInvalid, match=case["refused"]):
        Signature.parse(document)


def test_the_longest_labels_in_json_fit_into_the_document_that_the_gateway_reads() -> None:
    long = "\N{GRINNING FACE}" * 255  # twelve characters of JSON each
    labels = tuple(chr(0x10000 + number) + long for number in range(2048))
    interface = ModelInterface(
        name="sized", input_shape=(6,), output_shape=(2048,), labels=labels, max_batch_size=1
    )
    check_interface(interface)
    assert len(signature_document(interface, "1", {})) < 2**23 - 2**20


def test_what_torch_model_archiver_and_the_build_write_has_the_layout_that_the_gateway_asks_for() -> None:
    members = archive_members("tiny", bytes(range(256)), b"{}\n", b"golden", ("dark", "bright"))
    content = pack("tiny", "1", members)
    found = {member.name for member in check_layout(content, "the archive")}
    assert found == {*members, "MAR-INF/MANIFEST.json", "SHA256SUMS"}
