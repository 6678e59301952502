"""Free space where something will be written."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from seqserve.doctor.finding import Finding, fault, or_ok, warning
from seqserve.doctor.torchserve_folder import nearest

CHECK = "disk"
LEAST_BYTES, WISHED_BYTES = 100 * 10**6, 10**9
COPIES = 2  # TorchServe gets a private copy of every archive, and unpacks it


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that will be written to. needed_bytes: what is known to come there."""

    what: str
    folder: Path
    needed_bytes: int = 0


def places(
    store: Path, torchserve_folder: Path | None, store_bytes: int, *, with_torchserve: bool
) -> list[Place]:
    """Where a gateway with these settings writes, or a build beside it does."""
    temporary = Path(tempfile.gettempdir())
    found = [Place("the store", store)]
    if with_torchserve:
        needed = COPIES * store_bytes
        found.append(Place("TorchServe's folder", torchserve_folder or temporary, needed))
    if not with_torchserve or torchserve_folder is not None:
        found.append(Place("the temporary folder", temporary))
    return found


def free_bytes(folder: Path) -> int:
    """Free for us on the file system of a folder. Raises OSError."""
    return shutil.disk_usage(folder).free


def check_disk(found: list[Place], free: Callable[[Path], int] = free_bytes) -> list[Finding]:
    """Each place, looked at where it lies or will lie."""
    sizes = {place: free(nearest(place.folder)) for place in found}
    told = ", ".join(f"{_megabytes(size)} for {place.what}" for place, size in sizes.items())
    return or_ok((one for item in sizes.items() for one in _judge(*item)), CHECK, f"free: {told}")


def _judge(place: Place, size: int) -> Iterator[Finding]:
    where = f"{_megabytes(size)} are free for {place.what} in {nearest(place.folder)}"
    if size < max(LEAST_BYTES, place.needed_bytes):
        least = _megabytes(max(LEAST_BYTES, place.needed_bytes))
        yield fault(CHECK, f"{where}, {least} are needed", _advice(place))
    elif size < WISHED_BYTES:
        yield warning(CHECK, where, _advice(place))


def _advice(place: Place) -> str:
    if place.what == "the store":
        return "Make room there; `seqserve store prune --keep 3` removes old versions."
    setting = "--torchserve-folder" if "TorchServe" in place.what else "TMPDIR"
    return f"Make room there, or name a folder on another disk with {setting}."


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
