"""What the Open Inference Protocol has us answer, as plain values: protobuf and JSON are made from these.

Members are named as in the protocol. Source: Open Inference Protocol v2 and Triton's extensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqserve.errors import ModelNotFound, VersionNotFound
from seqserve.predictor import Receipt
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, ModelVersion
from seqserve.signature import TensorSpec
from seqserve.statistics import BatchStatistics, Duration, Statistics, VersionStatistics

SERVER = "seqserve"
EXTENSIONS = ("classification", "model_configuration", "statistics")
"""Of the protocol, those that every port with inference serves in full."""
REPOSITORY_EXTENSION = "model_repository"

_INDEX_STATES = {
    ModelState.LOADING: "LOADING",
    ModelState.READY: "READY",
    ModelState.STALLED: "UNAVAILABLE",
    ModelState.UNLOADING: "UNLOADING",
    ModelState.UNLOADED: "UNAVAILABLE",
    ModelState.FAILED: "UNAVAILABLE",
}
"""As Triton's model repository extension names them."""
_COMPUTE = ("compute_input", "compute_infer", "compute_output")
_CONFIG_DATATYPES = {"FP32": "TYPE_FP32"}


def receipt_parameters(receipt: Receipt) -> dict[str, int | str]:
    """A reply's parameters; no hash of an archive that nobody verified."""
    parameters: dict[str, int | str] = {
        "seqserve_queue_ns": round(receipt.queue_seconds * 1e9),
        "seqserve_compute_ns": round(receipt.compute_seconds * 1e9),
        "seqserve_batch_size": receipt.batch_size,
        "seqserve_engine": receipt.engine,
        "seqserve_device": receipt.device,
    }
    if receipt.archive_sha256:
        parameters["seqserve_archive_sha256"] = receipt.archive_sha256
    return parameters


def model_metadata(repository: Repository, name: str, version: str) -> dict[str, Any]:
    """What a model takes and gives, and the version that was asked about or all that are ready.

    Raises NotFound, ModelNotReady.
    """
    bound = repository.resolve(name, version)
    return {
        "name": bound.name,
        "versions": [bound.version] if version else _ready_versions(repository, name),
        "platform": bound.signature.platform,
        "inputs": [_metadata_tensor(bound.signature.input)],
        "outputs": [_metadata_tensor(bound.signature.output)],
    }


def model_config(
    repository: Repository, name: str, version: str, max_request_examples: int
) -> dict[str, Any]:
    """Triton's ModelConfig as far as it holds here, in protobuf's JSON form; dims without the batch.

    Raises NotFound, ModelNotReady.
    """
    bound = repository.resolve(name, version)
    signature, batcher = bound.signature, bound.batcher
    return {
        "name": signature.name,
        "platform": signature.platform,
        "backend": SERVER,
        "version_policy": {"specific": {"versions": [int(signature.version)]}},
        "max_batch_size": min(batcher.max_batch_size, max_request_examples),
        "input": [_config_tensor(signature.input)],
        "output": [_config_tensor(signature.output)],
        "dynamic_batching": {"max_queue_delay_microseconds": round(batcher.max_queue_delay_seconds * 1e6)},
        "model_transaction_policy": {"decoupled": False},
    }


def model_statistics(
    repository: Repository, statistics: Statistics, name: str, version: str
) -> dict[str, Any]:
    """The counters of what is in the repository, as they stand now: of one version, of a model or of all.

    Raises ModelNotFound, VersionNotFound.
    """
    found = statistics.find(_asked(repository, name, version))
    return {"model_stats": [_version_statistics(counters) for counters in found]}


def repository_index(repository: Repository, *, is_ready_only: bool) -> list[dict[str, str]]:
    """Every version, or those that are ready; the reason of one that does not serve."""
    return [
        {
            "name": entry.name,
            "version": entry.version,
            "state": _INDEX_STATES[entry.state],
            "reason": entry.reason,
        }
        for entry in repository.versions()
        if entry.state is ModelState.READY or not is_ready_only
    ]


def _ready_versions(repository: Repository, name: str) -> list[str]:
    entries = repository.versions_of(name)
    return [entry.version for entry in entries if entry.state is ModelState.READY]


def _metadata_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _config_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "data_type": _CONFIG_DATATYPES[spec.datatype],
        "dims": list(spec.example_shape),
    }


def _asked(repository: Repository, name: str, version: str) -> Sequence[ModelVersion]:
    """Versions in whatever state; "" as a name is every model, "" as a version every version."""
    if not name:
        return repository.versions()
    entries = repository.versions_of(name)
    if not entries:
        raise ModelNotFound(name)
    if not version:
        return entries
    labels = repository.routing(name).labels
    entry = repository.find(name, labels.get(version, version))
    if entry is None:
        raise VersionNotFound(
            name, version, available=", ".join([*(known.version for known in entries), *sorted(labels)])
        )
    return [entry]


def _version_statistics(counters: VersionStatistics) -> dict[str, Any]:
    return {
        "name": counters.name,
        "version": counters.version,
        "last_inference": counters.last_inference_ms,
        "inference_count": counters.inference_count,
        "execution_count": counters.execution_count,
        "inference_stats": _durations(counters, "success", "fail", "queue", *_COMPUTE),
        "batch_stats": [
            {"batch_size": size, **_durations(batch, *_COMPUTE)}
            for size, batch in sorted(counters.batches.items())
        ],
    }


def _durations(counters: VersionStatistics | BatchStatistics, *names: str) -> dict[str, dict[str, int]]:
    found: dict[str, Duration] = {name: getattr(counters, name) for name in names}
    return {name: {"count": duration.count, "ns": duration.ns} for name, duration in found.items()}
