"""The inference token alone, in a file for those who may ask for predictions and nothing else.

TorchServe's own key_file.json holds the keys of its management beside it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import structlog

from seqserve.engines.timing import Time
from seqserve.engines.torchserve.tokens import TokenFile
from seqserve.errors import EngineUnavailable, SettingsInvalid

log = structlog.get_logger()

LOOK_SECONDS = 0.05
"""Between two looks at the key file: who was refused reads anew for a quarter of a second."""

Stamp = tuple[int, int, int]


class SharedToken:
    """Keeps a file that holds the inference token of a key file, whoever renews that and however often.

    keys: TorchServe's key_file.json. path: the file, which only our own user may read; it is replaced whole.
    """

    def __init__(self, keys: Path, path: Path, *, time: Time | None = None) -> None:
        self._keys = keys
        self._path = path
        self._time = time or Time()
        self._seen: Stamp | None = None
        self._shared = ""
        self._is_failing = False

    def share(self) -> None:
        """Write the token as it is now.

        Raises EngineUnavailable where it cannot be read, SettingsInvalid where it cannot be written.
        """
        token = TokenFile(self._keys).inference()
        if token == self._shared:
            return
        try:
            _replace(self._path, token)
        except OSError as error:
            raise SettingsInvalid(
                f"torchserve_share_token: {self._path}: {error.strerror}",
                hint="name a file in a folder that is there and can be written",
            ) from error
        self._shared = token

    async def run(self) -> None:
        """Share each new token until this task is cancelled; the file is gone then."""
        try:
            while True:
                self._look()
                await self._time.sleep(LOOK_SECONDS)
        finally:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _look(self) -> None:
        stamp = _stamp(self._keys)
        if stamp is None or stamp == self._seen:
            return
        try:
            self.share()
        except EngineUnavailable:  # it is just being written
            return
        except SettingsInvalid as error:
            self._note_failure(str(error))
            return
        self._seen, self._is_failing = stamp, False

    def _note_failure(self, reason: str) -> None:
        if not self._is_failing:
            log.error("torchserve token not shared", reason=reason)
        self._is_failing = True


def _stamp(path: Path) -> Stamp | None:
    """Differs once a file was written again; None where it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
