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


def read_zip(content: bytes) -> Members:
    """All members of a zip, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
