"""Everything that can stop a build, as one tree; each says what happened and what to do about it.

BuildError
├── UnknownModel        no model of that name in the zoo
├── UnknownDataset      the model has no recipe for that data set
├── DatasetMissing      the files of a data set are not where they should be
├── DatasetBroken       a file is not what its name and header promise
├── DownloadFailed      the files of a data set cannot be fetched into their folder
├── DeviceUnavailable   this machine has no such device
├── SettingInvalid      a seed, a number of epochs or a version that cannot be used
├── ModelInvalid        the module is not what its definition says
├── LayerMisfit         a layer does not take what the one before it gives
├── LayerOpaque         a layer that cannot be followed by shapes alone
├── TargetUnusable      what was named as a model cannot be loaded
├── CheckpointUnusable  a file is no checkpoint, or one of something else
├── WeightsUnusable     a file to package is not what it should be
├── SignatureUnusable   a written signature is not what it should be
├── SigningKeyUnusable  a key to attest with cannot be read, or is open to others
├── NotAttestable       an archive that cannot be attested as it lies there
├── FileExists          a file to write is there already
├── TrainingDiverged    the loss is no number any more
├── ExportFailed        TorchScript could not be made of the module
│   └── ExportDiffers   TorchScript and the module give different answers
├── ArchiverFailed      torch-model-archiver gave no archive
├── VersionExists       versions are immutable, and that one is there
└── StoreUnwritable     the archive cannot be written where it should go
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqserve_models.shapes import LayerRow


class BuildError(Exception):
    """Root of the tree; `hint` says what to do about it and may be empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


class UnknownModel(BuildError):
    """No model of that name in the zoo."""


class UnknownDataset(BuildError):
    """The model has no recipe for that data set."""


class DatasetMissing(BuildError):
    """The files of a data set are not where they should be."""


class DatasetBroken(BuildError):
    """A file is not what its name and header promise."""


class DownloadFailed(BuildError):
    """No mirror gave the right file, or the folder does not take it; the text says why, for each mirror."""


class DeviceUnavailable(BuildError):
    """There is no such device on this machine."""


class SettingInvalid(BuildError):
    """A setting of the build has a value that cannot be used."""


class ModelInvalid(BuildError):
    """The module is not what its definition says."""


class LayerMisfit(BuildError):
    """A layer does not take what the one before it gives; `rows` holds the layers that fit."""

    def __init__(self, message: str, *, hint: str = "", rows: tuple[LayerRow, ...] = ()) -> None:
        self.rows = rows
        super().__init__(message, hint=hint)


class LayerOpaque(BuildError):
    """A layer cannot be followed by shapes alone; `rows` holds the layers before it."""

    def __init__(self, message: str, *, rows: tuple[LayerRow, ...] = ()) -> None:
        self.rows = rows
        super().__init__(message)


class TargetUnusable(BuildError):
    """What was named as a model cannot be loaded."""


class CheckpointUnusable(BuildError):
    """A file is no checkpoint, or one of another model or training."""


class WeightsUnusable(BuildError):
    """A file to package holds neither TorchScript nor weights, or examples of another kind."""


class SignatureUnusable(BuildError):
    """A signature that somebody has written cannot be used."""


class SigningKeyUnusable(BuildError):
    """A file holds no key to attest with, or others than its owner may read it."""


class NotAttestable(BuildError):
    """An archive is not what its file name and its sum say, or no file of its own."""


class FileExists(BuildError):
    """A file to write is there already, and may hold somebody's work."""


class TrainingDiverged(BuildError):
    """The loss is no finite number any more."""


class ExportFailed(BuildError):
    """TorchScript could not be made of the module."""


class ExportDiffers(ExportFailed):
    """TorchScript and the module give different answers."""


class ArchiverFailed(BuildError):
    """torch-model-archiver gave no archive."""


class VersionExists(BuildError):
    """Versions are immutable, and that one is there."""


class StoreUnwritable(BuildError):
    """The archive cannot be written where it should go."""
