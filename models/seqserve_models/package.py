"""Archives a model that was trained elsewhere: TorchScript with a signature, or weights with a definition."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqserve_models.archive import GOLDEN_EXAMPLES, archive_members, golden_document, pack
from seqserve_models.attestation import companions_for
from seqserve_models.checkpoint import Checkpoint, load_weights, weights_sha256
from seqserve_models.clean_check import load_clean
from seqserve_models.dataset import Values
from seqserve_models.definition import ModelInterface
from seqserve_models.definition_check import check_definition
from seqserve_models.errors import ModelInvalid, WeightsUnusable
from seqserve_models.evaluate import infer
from seqserve_models.export import export
from seqserve_models.facts import library_versions
from seqserve_models.foreign import first_line
from seqserve_models.interface_file import InterfaceFile
from seqserve_models.signature import signature_document
from seqserve_models.signing_keys import SigningKey, read_signing_key
from seqserve_models.source import Source, searched
from seqserve_models.store import CHECKPOINT, choose_version, publish
from seqserve_models.target import Target
from seqserve_models.threads import fixed_threads
from seqserve_models.train import initialise
from seqserve_models.verify import verify
from seqserve_models.weights import read_state_dict, read_torchscript

MADE_UP_EXAMPLES = 32


@dataclass(frozen=True)
class PackageSettings:
    """output: the model store. version: None takes the next number.

    examples: a .npy file of inputs [n, *example]; None makes some up, within the range where there is one.
    signing_key: file with the private key that attests the archive; None attests nothing.
    """

    output: Path
    version: str | None = None
    examples: Path | None = None
    signing_key: Path | None = None


@dataclass(frozen=True, eq=False)
class Packaged:
    """One archive that was published; sha256 in hex. max_delta: largest |Δ| between two ways to answer."""

    path: Path
    sha256: str
    max_delta: float


@dataclass(frozen=True, eq=False)
class _ToPack:
    """TorchScript, and what the module gives for some inputs: FP32 [n, *example] to [n, *output]."""

    interface: ModelInterface
    script: bytes
    inputs: Values
    outputs: Values
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class _Place:
    """Where an archive will lie, and by whose key it will be attested."""

    store: Path
    version: str
    key: SigningKey | None


def package_torchscript(file: Path, described: InterfaceFile, settings: PackageSettings) -> Packaged:
    """Archive TorchScript as it is. Its answers in batches and one by one must agree.

    Raises WeightsUnusable, ModelInvalid, ExportDiffers, SettingInvalid, SigningKeyUnusable, VersionExists,
    StoreUnwritable.
    """
    interface = described.interface()
    place = _place(interface.name, settings)
    script, module = read_torchscript(file)
    inputs = _examples(interface, settings)
    with fixed_threads():
        outputs = _answers(interface, module, inputs)
        facts = {**described.training, "packaged_from": "TorchScript"}
        proven = _ToPack(interface, script, inputs, outputs, facts)
        return _publish(proven, place, None, {})


def package_weights(file: Path, target: Target, settings: PackageSettings) -> Packaged:
    """Archive a definition's module with a state_dict, or with the weights of a checkpoint.

    Raises WeightsUnusable, CheckpointUnusable, ModelInvalid, LayerMisfit, ExportFailed, SettingInvalid,
    SigningKeyUnusable, VersionExists, StoreUnwritable.
    """
    definition, source = target.definition, target.source
    place = _place(definition.name, settings)
    state_dict = read_state_dict(file)
    with searched(source.folders if source else ()), fixed_threads():
        check_definition(definition)
        module = initialise(definition, seed=0)
        load_weights(module, state_dict, str(file))
        inputs = _examples(definition, settings)
        outputs = _answers(definition, module.eval(), inputs)
        facts = {"packaged_from": "state_dict", "weights_sha256": weights_sha256(module.state_dict())}
        checkpoint = Checkpoint(module.state_dict(), {"name": definition.name, **facts})
        script = export(module, definition.name, source)
        proven = _ToPack(definition, script, inputs, outputs, facts)
        return _publish(proven, place, source, {CHECKPOINT: checkpoint.document()})


def _place(name: str, settings: PackageSettings) -> _Place:
    """Raises SettingInvalid, SigningKeyUnusable, VersionExists, StoreUnwritable."""
    key = None if settings.signing_key is None else read_signing_key(settings.signing_key)
    return _Place(settings.output, choose_version(settings.output, name, settings.version), key)


def _examples(interface: ModelInterface, settings: PackageSettings) -> Values:
    """FP32 [n, *example] that the model accepts. Raises ModelInvalid, WeightsUnusable."""
    if settings.examples is not None:
        return _read_examples(interface, settings.examples)
    generator, shape = np.random.default_rng(0), (MADE_UP_EXAMPLES, *interface.input_shape)
    low, high = interface.minimum, interface.maximum
    if low is not None and high is not None:
        return generator.uniform(low, high, shape).astype(np.float32)
    made_up = generator.standard_normal(shape, np.float32)
    if low is not None:
        return np.float32(low) + np.abs(made_up)
    return made_up if high is None else np.float32(high) - np.abs(made_up)


def _read_examples(interface: ModelInterface, path: Path) -> Values:
    try:
        inputs = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except OSError as error:
        raise WeightsUnusable(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsUnusable(f"{path} is no .npy file: {first_line(error)}") from error
    wanted = f"float32 [{', '.join(['n', *map(str, interface.input_shape)])}], n from 1"
    if not isinstance(inputs, np.ndarray):
        raise WeightsUnusable(f"{path} is no .npy file of one array; accepted: {wanted}")
    if inputs.dtype != np.float32 or inputs.shape[1:] != interface.input_shape or not inputs.size:
        raise WeightsUnusable(f"{path} is {inputs.dtype} {list(inputs.shape)}; accepted: {wanted}")
    low = -math.inf if interface.minimum is None else interface.minimum
    high = math.inf if interface.maximum is None else interface.maximum
    if not np.isfinite(inputs).all() or inputs.min() < low or inputs.max() > high:
        raise WeightsUnusable(
            f"{path} runs from {inputs.min():g} to {inputs.max():g}; accepted: finite, "
            f"from {low:g} to {high:g}"
        )
    return np.ascontiguousarray(inputs)


def _answers(interface: ModelInterface, module: torch.nn.Module, inputs: Values) -> Values:
    """What the module gives: FP32, one row for each example. Raises ModelInvalid."""
    try:
        outputs = infer(module, inputs, batch_size=interface.max_batch_size)
    except Exception as error:  # the layers are somebody else's
        raise ModelInvalid(
            f"{interface.name}: the module gives no tensor for examples of shape "
            f"{list(interface.input_shape)}: {_reason(error)}"
        ) from error
    if outputs.dtype != np.float32 or outputs.shape != (len(inputs), *interface.output_shape):
        raise ModelInvalid(
            f"{interface.name}: for {len(inputs)} examples the module gives {outputs.dtype} "
            f"{list(outputs.shape)}, not float32 {[len(inputs), *interface.output_shape]}"
        )
    return np.ascontiguousarray(outputs)


def _reason(error: Exception) -> str:
    """TorchScript tells where it happened first, and what in its last line."""
    is_traceback = "TorchScript interpreter" in first_line(error)
    return str(error).strip().splitlines()[-1] if is_traceback else first_line(error)


def _publish(
    model: _ToPack, place: _Place, source: Source | None, companions: Mapping[str, bytes]
) -> Packaged:
    """Verify, pack, prove in a clean process, write."""
    max_delta = verify(model.script, model.interface, model.inputs, model.outputs)
    archive, name = _pack(model, place.version), model.interface.name
    load_clean([archive], [source])
    attestation = companions_for(archive, name, place.version, place.key)
    path = publish(archive, place.store, name, place.version, {**companions, **attestation})
    return Packaged(path, hashlib.sha256(archive).hexdigest(), max_delta)


def _pack(model: _ToPack, version: str) -> bytes:
    golden = golden_document(model.inputs[:GOLDEN_EXAMPLES], model.outputs[:GOLDEN_EXAMPLES])
    facts = {**model.facts, "libraries": library_versions()}
    signature = signature_document(model.interface, version, facts)
    name, labels = model.interface.name, model.interface.labels
    return pack(name, version, archive_members(name, model.script, signature, golden, labels))
