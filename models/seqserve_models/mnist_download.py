"""MNIST's four files, fetched on request: only what is missing or wrong, and whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from types import MappingProxyType, TracebackType
from typing import IO, Self

import httpx

from seqserve_models.errors import DownloadFailed
from seqserve_models.transfer import Transfer

MIRRORS: tuple[str, ...] = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# SHA-256 of the unpacked files of MNIST (LeCun, Cortes, Burges). The packed ones differ between mirrors.
FILES: Mapping[str, str] = MappingProxyType(
    {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }
)
# The largest file has 47 MB unpacked.
MAX_BYTES = 2**26
PIECE_BYTES = 2**16
# One round more than there are pauses.
PAUSES_SECONDS = (1.0, 4.0)
SECONDS_OF_A_STALL = 600.0
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
ADVANCES_A_FILE = 20
BUSY = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
GZIP_MAGIC = b"\x1f\x8b"


def download_mnist(
    folder: Path,
    *,
    progress: Transfer,
    mirrors: Sequence[str] = MIRRORS,
    files: Mapping[str, str] = FILES,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Put every file that is missing into the folder, as `name.gz`; a right one is kept, another refused.

    mirrors: base URLs. files: name without .gz -> SHA-256 in hex of the unpacked content. sleep: takes
    seconds, between the rounds of tries. Raises DownloadFailed.
    """
    with _in_words(folder):
        wanted = {name: digest for name, digest in files.items() if not _settle(folder, name, digest)}
        if wanted:
            folder.mkdir(parents=True, exist_ok=True)
    if not wanted:
        return
    with _open_client(folder) as client:
        download = _Download(client, mirrors, progress, sleep)
        for name, digest in wanted.items():
            download.fetch(folder / f"{name}.gz", digest)


class _Unfinished(Exception):
    """The try failed; the next may succeed."""


class _Unfit(Exception):
    """What the mirror gives is not the file, and would not be the next time."""


class _Download:
    """Asks the mirrors for one file after the other."""

    def __init__(
        self,
        client: httpx.Client,
        mirrors: Sequence[str],
        progress: Transfer,
        sleep: Callable[[float], None],
    ) -> None:
        self._client = client
        self._mirrors = mirrors
        self._progress = progress
        self._sleep = sleep

    def fetch(self, path: Path, digest: str) -> None:
        """Each mirror in turn, in rounds; one that gave something else is not asked again."""
        reasons: dict[str, str] = {}
        hopeful = list(self._mirrors)
        for pause in (*PAUSES_SECONDS, None):
            for mirror in tuple(hopeful):
                try:
                    return self._fetch_from(mirror, path, digest)
                except _Unfinished as error:
                    reasons[mirror] = str(error)
                except _Unfit as error:
                    reasons[mirror] = str(error)
                    hopeful.remove(mirror)
            if pause is None or not hopeful:
                break
            self._sleep(pause)
        told = "; ".join(f"{mirror}: {reason}" for mirror, reason in reasons.items())
        raise _failure(f"{path.name} could not be downloaded: {told}", path.parent)

    def _fetch_from(self, mirror: str, path: Path, digest: str) -> None:
        content = _Unpacking()
        try:
            with _Partial(path) as partial:
                with self._client.stream("GET", f"{mirror.rstrip('/')}/{path.name}") as response:
                    _check_status(response.status_code)
                    for piece in self._pieces(path.name, response):
                        content.feed(piece)
                        partial.write(piece)
                content.check(digest)
                partial.keep()
        except httpx.TimeoutException as error:
            raise _Unfinished("no answer in time") from error
        except httpx.RequestError as error:
            raise _Unfinished(str(error) or type(error).__name__) from error

    def _pieces(self, name: str, response: httpx.Response) -> Iterator[bytes]:
        """The body as it is stored, telling how far it has come."""
        length = response.headers.get("content-length")
        total = None if length is None else int(length)
        received, told = 0, 0
        # Raw: what a server calls an encoding is, for these files, the file itself.
        for piece in response.iter_raw(PIECE_BYTES):
            yield piece
            received += len(piece)
            part = received * ADVANCES_A_FILE // (total or MAX_BYTES)
            if part > told:
                told = part
                self._progress.advance(name, received, total)


class _Unpacking:
    """Hashes the content of a gzip as it arrives, in bounded memory."""

    def __init__(self) -> None:
        self._gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._hash = hashlib.sha256()
        self._packed_bytes = 0
        self._plain_bytes = 0

    def feed(self, packed: bytes) -> None:
        """Take the next piece. Raises _Unfit."""
        # Counted as well because a gzip can go on for ever without any content.
        self._packed_bytes += len(packed)
        while packed:
            try:
                self._add(self._gzip.decompress(packed, PIECE_BYTES))
            except zlib.error as error:
                raise _Unfit(f"damaged gzip: {error}") from error
            packed = self._gzip.unconsumed_tail
        if self._gzip.unused_data:
            raise _Unfit("damaged gzip: more bytes after its end")

    def check(self, digest: str) -> None:
        """Nothing follows. Raises _Unfinished where the gzip has no end, _Unfit where it is another file."""
        if not self._gzip.eof:
            raise _Unfinished(f"ends after {self._packed_bytes} bytes, inside the gzip")
        if self._hash.hexdigest() != digest:
            raise _Unfit(f"SHA-256 of the content is {self._hash.hexdigest()}, expected {digest}")

    def _add(self, plain: bytes) -> None:
        self._plain_bytes += len(plain)
        if max(self._packed_bytes, self._plain_bytes) > MAX_BYTES:
            raise _Unfit(f"more than {MAX_BYTES} bytes, which no file of MNIST has")
        self._hash.update(plain)


class _Partial:
    """A hidden file beside the one it becomes; gone again unless it was kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")

    def __enter__(self) -> Self:
        with _in_words(self._path.parent):
            self._file = self._partial.open("xb")
        return self

    def write(self, piece: bytes) -> None:
        """Append."""
        with _in_words(self._path.parent):
            self._file.write(piece)

    def keep(self) -> None:
        """Onto the disk, then under its name, over what was there."""
        with _in_words(self._path.parent):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._partial.replace(self._path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _in_words(self._path.parent):
            try:
                self._file.close()
            finally:
                self._partial.unlink(missing_ok=True)


def _settle(folder: Path, name: str, digest: str) -> bool:
    """Remove what killed runs have left; whether the file is there. Raises DownloadFailed for another one."""
    for partial in folder.glob(f".{name}.gz.*partial"):
        if time.time() - partial.stat().st_mtime > SECONDS_OF_A_STALL:  # nobody writes to it any more
            partial.unlink(missing_ok=True)
    there = [path for path in (folder / name, folder / f"{name}.gz") if path.exists()]
    for path in there:
        if not _is_right(path, digest):  # Fashion-MNIST has files of these names, for example
            raise DownloadFailed(
                f"{path} is there and is not MNIST's: its SHA-256 differs",
                hint="move it away, or name another folder",
            )
    return bool(there)


def _is_right(path: Path, digest: str) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as packed:
            is_gzip = packed.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            packed.seek(0)
            if not is_gzip:
                return _has_digest(packed, digest)
            with gzip.GzipFile(fileobj=packed) as plain:
                return _has_digest(plain, digest)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False


def _has_digest(plain: IO[bytes] | gzip.GzipFile, digest: str) -> bool:
    content, size = hashlib.sha256(), 0
    while size <= MAX_BYTES and (piece := plain.read(PIECE_BYTES)):
        size += len(piece)
        content.update(piece)
    return content.hexdigest() == digest


def _open_client(folder: Path) -> httpx.Client:
    try:
        # An encoding on the way would come on top of the gzip that is the file.
        return httpx.Client(follow_redirects=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        # httpx reads the environment: HTTPS_PROXY, SSL_CERT_FILE and their like.
        text = f"the environment's proxy or certificate settings cannot be used: {error}"
        raise _failure(text, folder) from error


def _check_status(status: int) -> None:
    if status in BUSY or httpx.codes.is_server_error(status):
        raise _Unfinished(f"HTTP {status}")
    if status != httpx.codes.OK:
        raise _Unfit(f"HTTP {status}")


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    """Says what the file system refuses."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise DownloadFailed(
            f"{where} cannot be used: {error.strerror or error}",
            hint="--data-dir names a folder that can be written",
        ) from error


def _failure(text: str, folder: Path) -> DownloadFailed:
    return DownloadFailed(
        text,
        hint=f"get the four files in another way, put them into {folder}, and use "
        f"--data-dir {quote(str(folder))} without --download",
    )
