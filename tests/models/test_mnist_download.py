"""MNIST fetched on request, from real local servers with small made-up files."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from seqserve_models.errors import DownloadFailed
from seqserve_models.mnist_download import FILES, MAX_BYTES, PIECE_BYTES, download_mnist

MNIST_DIR = os.environ.get("SEQSERVE_MNIST_DIR")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
# Images of several pieces: noise, which no gzip makes smaller.
CONTENT = {IMAGES: np.random.default_rng(5).bytes(25 * PIECE_BYTES), LABELS: bytes(range(10))}
EXPECTED = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
PACKED = {name: gzip.compress(content, 1) for name, content in CONTENT.items()}
LABELS_ONLY = {LABELS: EXPECTED[LABELS]}
Fetch = Callable[..., None]


@dataclass(frozen=True)
class Reply:
    """What the server answers; `is_cut` leaves the last byte out and closes."""

    body: bytes = b""
    status: int = 200
    is_cut: bool = False
    tells_length: bool = True
    location: str | None = None

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(self.status)
        if self.tells_length:
            handler.send_header("Content-Length", str(len(self.body)))
        if self.location is not None:
            handler.send_header("Location", self.location)
        handler.end_headers()
        handler.wfile.write(self.body[:-1] if self.is_cut else self.body)


class Mirrors:
    """A server on a free port; the last reply that was given for a path is repeated."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.replies: dict[str, list[Reply]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.base = f"http://127.0.0.1:{self.server.server_port}"

    def offer(self, *replies: Reply, name: str = LABELS, mirror: str = "a") -> None:
        self.replies[f"/{mirror}/{name}.gz"] = list(replies)

    def offer_all(self, packed: Mapping[str, bytes]) -> None:
        for name, content in packed.items():
            self.offer(Reply(content), name=name)

    def urls(self, *mirrors: str) -> list[str]:
        return [f"{self.base}/{mirror}/" for mirror in mirrors]

    def reply(self, path: str) -> Reply:
        self.requests.append(path)
        replies = self.replies.get(path, [Reply(status=404)])
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        mirrors = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                # Whoever is interrupted hangs up before the end.
                with suppress(ConnectionError):
                    mirrors.reply(self.path).send(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
                """Nothing."""

        return Handler


class Heard:
    """Keeps what a transfer tells."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int | None]] = []

    def advance(self, name: str, received_bytes: int, total_bytes: int | None) -> None:
        self.calls.append((name, received_bytes, total_bytes))


class Interrupted:
    """Somebody presses Ctrl-C as soon as something is told."""

    def advance(self, name: str, received_bytes: int, total_bytes: int | None) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirrors]:
    # No proxy of the machine stands between the test and its own server.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    mirrors = Mirrors()
    thread = threading.Thread(target=lambda: mirrors.server.serve_forever(poll_interval=0.01))
    thread.start()
    yield mirrors
    mirrors.server.shutdown()
    mirrors.server.server_close()
    thread.join()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def fetch(mirrors: Mirrors, tmp_path: Path, pauses: list[float]) -> Fetch:
    """Downloads the labels from mirror a into tmp_path, unless told otherwise."""

    def run(
        *names: str, files: Mapping[str, str] = LABELS_ONLY, heard: Heard | Interrupted | None = None
    ) -> None:
        urls = mirrors.urls(*(names or ("a",)))
        download_mnist(tmp_path, mirrors=urls, files=files, progress=heard or Heard(), sleep=pauses.append)

    return run


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_missing_files_are_fetched_into_a_new_folder(
    mirrors: Mirrors, tmp_path: Path, pauses: list[float]
) -> None:
    mirrors.offer_all(PACKED)
    folder = tmp_path / "new" / "mnist"
    download_mnist(folder, mirrors=mirrors.urls("a"), files=EXPECTED, progress=Heard(), sleep=pauses.append)
    assert names_in(folder) == [f"{IMAGES}.gz", f"{LABELS}.gz"]
    for name, content in CONTENT.items():
        assert gzip.decompress((folder / f"{name}.gz").read_bytes()) == content
    assert pauses == []


def test_right_files_are_kept_without_a_request(mirrors: Mirrors, tmp_path: Path, fetch: Fetch) -> None:
    (tmp_path / IMAGES).write_bytes(CONTENT[IMAGES])
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(CONTENT[LABELS], 9))
    fetch(files=EXPECTED)
    assert mirrors.requests == []
    assert names_in(tmp_path) == [IMAGES, f"{LABELS}.gz"]


def test_only_what_is_missing_is_fetched(mirrors: Mirrors, tmp_path: Path, fetch: Fetch) -> None:
    mirrors.offer_all(PACKED)
    (tmp_path / IMAGES).write_bytes(CONTENT[IMAGES])
    fetch(files=EXPECTED)
    fetch(files=EXPECTED)
    assert mirrors.requests == [f"/a/{LABELS}.gz"]


@pytest.mark.parametrize("name", [LABELS, f"{LABELS}.gz"])
@pytest.mark.parametrize("content", [b"", b"others", PACKED[LABELS][:-1], gzip.compress(b"others")])
def test_a_file_of_something_else_is_refused_and_stays(
    mirrors: Mirrors, tmp_path: Path, fetch: Fetch, name: str, content: bytes
) -> None:
    mirrors.offer_all(PACKED)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DownloadFailed, match=f"{name} is there and is not MNIST's"):
        fetch()
    assert mirrors.requests == []
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(
    "failure",
    [
        Reply(PACKED[LABELS], is_cut=True),
        Reply(PACKED[LABELS], is_cut=True, tells_length=False),
        Reply(status=500),
        Reply(status=503),
        Reply(status=429),
    ],
)
def test_what_may_pass_is_tried_three_times(
    mirrors: Mirrors, tmp_path: Path, fetch: Fetch, pauses: list[float], failure: Reply
) -> None:
    mirrors.offer(failure, failure, Reply(PACKED[LABELS]))
    fetch()
    assert (tmp_path / f"{LABELS}.gz").read_bytes() == PACKED[LABELS]
    assert len(mirrors.requests) == 3
    assert len(pauses) == 2
    assert 0 < pauses[0] < pauses[1]


def test_the_fourth_try_is_not_made(
    mirrors: Mirrors, tmp_path: Path, fetch: Fetch, pauses: list[float]
) -> None:
    mirrors.offer(Reply(status=503), mirror="a")
    mirrors.offer(Reply(PACKED[LABELS], is_cut=True), mirror="b")
    with pytest.raises(DownloadFailed, match=r"/a/: HTTP 503; .*/b/: .*received \d+ bytes, expected \d+"):
        fetch("a", "b")
    assert mirrors.requests == [f"/a/{LABELS}.gz", f"/b/{LABELS}.gz"] * 3
    assert len(pauses) == 2
    assert names_in(tmp_path) == []


def test_a_mirror_without_the_file_gives_way_to_the_next(
    mirrors: Mirrors, tmp_path: Path, fetch: Fetch, pauses: list[float]
) -> None:
    mirrors.offer(Reply(status=404), mirror="a")
    mirrors.offer(Reply(status=503), Reply(PACKED[LABELS]), mirror="b")
    fetch("a", "b")
    assert mirrors.requests == [f"/a/{LABELS}.gz", f"/b/{LABELS}.gz", f"/b/{LABELS}.gz"]
    assert (tmp_path / f"{LABELS}.gz").read_bytes() == PACKED[LABELS]


def test_a_redirect_is_followed(mirrors: Mirrors, tmp_path: Path, fetch: Fetch) -> None:
    mirrors.offer(Reply(status=302, location=f"/b/{LABELS}.gz"), mirror="a")
    mirrors.offer(Reply(PACKED[LABELS]), mirror="b")
    fetch("a")
    assert names_in(tmp_path) == [f"{LABELS}.gz"]


def test_other_content_on_every_mirror_is_refused(
    mirrors: Mirrors, tmp_path: Path, fetch: Fetch, pauses: list[float]
) -> None:
    for mirror, content in (("a", b"others"), ("b", b"yet others")):
        mirrors.offer(Reply(gzip.compress(content)), mirror=mirror)
    with pytest.raises(DownloadFailed) as caught:
        fetch("a", "b")
    for url, content in zip(mirrors.urls("a", "b"), (b"others", b"yet others"), strict=True):
        assert f"{url}: SHA-256 of the content is {hashlib.sha256(content).hexdigest()}" in str(caught.value)
    assert f"put them into {tmp_path}, and use --data-dir {tmp_path}" in caught.value.hint
    assert names_in(tmp_path) == []
    assert (len(mirrors.requests), pauses) == (2, [])


@pytest.mark.parametrize(
    "body",
    [
        CONTENT[LABELS],
        b"<html>sign in</html>",
        PACKED[LABELS][:-8] + bytes(8),
        PACKED[LABELS] + b"more",
        PACKED[LABELS] * 2,
    ],
)
def test_a_damaged_gzip_is_refused(mirrors: Mirrors, tmp_path: Path, fetch: Fetch, body: bytes) -> None:
    mirrors.offer(Reply(body))
    with pytest.raises(DownloadFailed, match="damaged gzip: "):
        fetch()
    assert names_in(tmp_path) == []
    assert len(mirrors.requests) == 1


def test_content_without_end_is_refused(mirrors: Mirrors, tmp_path: Path, fetch: Fetch) -> None:
    bomb = bytes(MAX_BYTES + 1)
    mirrors.offer(Reply(gzip.compress(bomb, 1)))
    with pytest.raises(DownloadFailed, match=f"more than {MAX_BYTES} bytes"):
        fetch(files={LABELS: hashlib.sha256(bomb).hexdigest()})
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, 4 * PIECE_BYTES, 4 * PIECE_BYTES + 1])
def test_content_that_packs_well_arrives_whole(
    mirrors: Mirrors, tmp_path: Path, fetch: Fetch, size: int
) -> None:
    content = bytes(size)
    mirrors.offer(Reply(gzip.compress(content)))
    fetch(files={LABELS: hashlib.sha256(content).hexdigest()})
    assert names_in(tmp_path) == [f"{LABELS}.gz"]


def test_an_interruption_leaves_nothing_and_the_next_run_succeeds(
    mirrors: Mirrors, tmp_path: Path, fetch: Fetch
) -> None:
    mirrors.offer_all(PACKED)
    with pytest.raises(KeyboardInterrupt):
        fetch(files=EXPECTED, heard=Interrupted())
    assert names_in(tmp_path) == []
    fetch(files=EXPECTED)
    assert names_in(tmp_path) == [f"{IMAGES}.gz", f"{LABELS}.gz"]


def test_what_a_killed_run_has_left_is_thrown_away(mirrors: Mirrors, tmp_path: Path, fetch: Fetch) -> None:
    mirrors.offer_all(PACKED)
    for name in (IMAGES, LABELS):
        partial = tmp_path / f".{name}.gz.0a1b2c3d.partial"
        partial.write_bytes(PACKED[name][:5])
        os.utime(partial, (0, 0))
    (tmp_path / f"{LABELS}.gz").write_bytes(PACKED[LABELS])
    fetch(files=EXPECTED)
    assert names_in(tmp_path) == [f"{IMAGES}.gz", f"{LABELS}.gz"]
    assert (tmp_path / f"{IMAGES}.gz").read_bytes() == PACKED[IMAGES]


def test_what_another_run_is_writing_is_left_alone(mirrors: Mirrors, tmp_path: Path, fetch: Fetch) -> None:
    mirrors.offer_all(PACKED)
    (tmp_path / f".{LABELS}.gz.0a1b2c3d.partial").write_bytes(b"half")
    fetch()
    assert names_in(tmp_path) == [f".{LABELS}.gz.0a1b2c3d.partial", f"{LABELS}.gz"]


def test_no_server_at_all_is_told_in_words(mirrors: Mirrors, tmp_path: Path, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        nobody = f"http://127.0.0.1:{closed_soon.getsockname()[1]}/"
    with pytest.raises(DownloadFailed, match=f"{nobody}: .*refused"):
        download_mnist(tmp_path, mirrors=[nobody], files=EXPECTED, progress=Heard(), sleep=pauses.append)
    assert len(pauses) == 2
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_told_in_words(mirrors: Mirrors, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "mnist"
    with pytest.raises(DownloadFailed, match="file/mnist cannot be used: Not a directory"):
        download_mnist(folder, mirrors=mirrors.urls("a"), files=EXPECTED, progress=Heard())
    assert mirrors.requests == []


def test_a_file_that_cannot_be_replaced_is_told_in_words(
    mirrors: Mirrors, tmp_path: Path, fetch: Fetch
) -> None:
    mirrors.offer_all(PACKED)
    (tmp_path / f"{LABELS}.gz").mkdir()
    with pytest.raises(DownloadFailed, match="is there and is not MNIST's"):
        fetch()
    assert names_in(tmp_path) == [f"{LABELS}.gz"]


def test_unusable_proxy_settings_are_told_in_words(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "nothing://known")
    with pytest.raises(DownloadFailed, match="proxy or certificate settings cannot be used"):
        fetch()


@pytest.mark.parametrize("tells_length", [True, False])
def test_progress_is_told_up_to_the_end_and_at_most_20_times(
    mirrors: Mirrors, fetch: Fetch, *, tells_length: bool
) -> None:
    content = np.random.default_rng(6).bytes(MAX_BYTES // 8)
    packed = gzip.compress(content, 0)
    mirrors.offer(Reply(packed, tells_length=tells_length))
    heard = Heard()
    fetch(files={LABELS: hashlib.sha256(content).hexdigest()}, heard=heard)
    total = len(packed) if tells_length else None
    assert {(name, told) for name, _, told in heard.calls} == {(f"{LABELS}.gz", total)}
    received = [count for _, count, _ in heard.calls]
    assert received == sorted(set(received))
    assert 2 <= len(received) <= 20
    assert received[-1] == len(packed) or not tells_length


@pytest.mark.skipif(MNIST_DIR is None, reason="SEQSERVE_MNIST_DIR names no folder with MNIST's files")
def test_the_real_files_have_the_expected_content(mirrors: Mirrors, tmp_path: Path, fetch: Fetch) -> None:
    for name in FILES:
        plain, packed = Path(MNIST_DIR or "") / name, Path(MNIST_DIR or "") / f"{name}.gz"
        content = packed.read_bytes() if packed.exists() else gzip.compress(plain.read_bytes(), 1)
        mirrors.offer(Reply(content), name=name)
    fetch(files=FILES)
    assert names_in(tmp_path) == sorted(f"{name}.gz" for name in FILES)
    fetch(files=FILES)
    assert len(mirrors.requests) == 4
