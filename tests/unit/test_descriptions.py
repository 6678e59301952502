"""What the gateway tells of its models."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqserve.errors import ModelNotFound
from seqserve.grpc_api.descriptions import STATES, describe_all, describe_one
from seqserve.pb.v1 import prediction_pb2 as pb
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState
from seqserve.signature import Signature
from support.archives import make_archive
from support.contract import signature_document
from support.engines import FakeEngine
from support.repositories import load_all


@pytest.mark.parametrize("state", ModelState)
def test_every_state_has_its_name_on_the_wire(state: ModelState) -> None:
    assert pb.ModelState.Name(STATES[state]) == f"MODEL_STATE_{state.name}"


def test_an_empty_repository_has_nothing_to_tell() -> None:
    assert not describe_all(Repository()).models
    with pytest.raises(ModelNotFound, match="nobody"):
        describe_one(Repository(), "nobody")


@pytest.mark.parametrize(
    ("key", "resize", "invert"),
    [("tiny_image", False, False), ("any_size", True, False), ("negative", False, True)],
)
async def test_what_a_model_does_to_pictures_is_told(
    tmp_path: Path, key: str, *, resize: bool, invert: bool
) -> None:
    repository = Repository()
    archive = make_archive(tmp_path, signature=Signature.parse(signature_document(key)))
    await load_all(repository, [archive], FakeEngine())

    (version,) = describe_one(repository, "tiny").versions

    assert version.state == pb.MODEL_STATE_READY
    assert (version.resize, version.invert) == (resize, invert)
