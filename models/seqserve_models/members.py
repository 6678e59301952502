"""Members of a zip as a mapping, written so that equal members give equal bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

Members = dict[str, bytes]

# The earliest date a zip can hold.
FIXED_DATE = (1980, 1, 1, 0, 0, 0)
REGULAR_FILE = 0o100644 << 16
UNIX = 3
# Of torch's files: the first holds absolute paths for error texts, the second is random.
DROPPED_SUFFIXES = (".debug_pkl", "/.data/serialization_id")


def write_zip(members: Mapping[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of the members, sorted by name, all with the same date and attributes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, FIXED_DATE)
            entry.external_attr = REGULAR_FILE
            entry.create_system = UNIX
            archive.writestr(entry, members[name], compress_type=compression)
    return target.getvalue()


def without_chance(saved: bytes) -> bytes:
    """What torch has saved, without the records that differ between two savings of the same."""
    members = {name: part for name, part in read_zip(saved).items() if not name.endswith(DROPPED_SUFFIXES)}
    return write_zip(members, compression=zipfile.ZIP_STORED)


def read_zip(content: bytes) -> Members:
    """All members of a zip, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
