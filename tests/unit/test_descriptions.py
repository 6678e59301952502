"""What the gateway tells of its models."""

from __future__ import annotations

import pytest

from seqserve.errors import ModelNotFound
from seqserve.grpc_api.descriptions import STATES, describe_all, describe_one
from seqserve.pb.v1 import prediction_pb2 as pb
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState


@pytest.mark.parametrize("state", ModelState)
def test_every_state_has_its_name_on_the_wire(state: ModelState) -> None:
    assert pb.ModelState.Name(STATES[state]) == f"MODEL_STATE_{state.name}"


def test_an_empty_repository_has_nothing_to_tell() -> None:
    assert not describe_all(Repository()).models
    with pytest.raises(ModelNotFound, match="nobody"):
        describe_one(Repository(), "nobody")
