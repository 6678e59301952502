"""What the gateway tells of its models: the repository's versions as messages of `seqserve.v1`."""

from __future__ import annotations

from seqserve.errors import ModelNotFound
from seqserve.pb.v1 import prediction_pb2 as pb
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, ModelVersion
from seqserve.signature import Signature

STATES = {
    ModelState.LOADING: pb.MODEL_STATE_LOADING,
    ModelState.READY: pb.MODEL_STATE_READY,
    ModelState.FAILED: pb.MODEL_STATE_FAILED,
    ModelState.UNLOADING: pb.MODEL_STATE_UNLOADING,
    ModelState.UNLOADED: pb.MODEL_STATE_UNLOADED,
    ModelState.STALLED: pb.MODEL_STATE_STALLED,
}


def describe_all(repository: Repository) -> pb.ListModelsResponse:
    """Every version of every model."""
    return pb.ListModelsResponse(models=[_version(version) for version in repository.versions()])


def describe_one(repository: Repository, name: str) -> pb.GetModelResponse:
    """One model: its versions, and which of them its labels and weights mean. Raises ModelNotFound."""
    versions, routing = repository.versions_of(name), repository.routing(name)
    if not versions:
        raise ModelNotFound(name)
    return pb.GetModelResponse(
        name=name,
        versions=[_version(version) for version in versions],
        version_labels=routing.labels,
        version_weights=routing.weights,
        default_version=repository.default_version(name),
    )


def _version(version: ModelVersion) -> pb.Model:
    model = pb.Model(
        name=version.name,
        version=version.version,
        state=STATES[version.state],
        reason=version.reason,
        archive_sha256=version.archive_sha256,
    )
    if version.signature is not None:
        _put_signature(model, version.signature)
    return model


def _put_signature(model: pb.Model, signature: Signature) -> None:
    model.task = signature.task
    model.input, model.output = signature.input.name, signature.output.name
    model.input_shape.extend(signature.input.example_shape)
    model.output_shape.extend(signature.output.example_shape)
    model.example_shapes.extend(",".join(map(str, shape)) for shape in signature.layouts)
    model.labels.extend(signature.labels)
    model.max_batch_size = signature.max_batch_size
    model.resize, model.invert = signature.resize, signature.invert
    if signature.minimum is not None:
        model.minimum = signature.minimum
    if signature.maximum is not None:
        model.maximum = signature.maximum
