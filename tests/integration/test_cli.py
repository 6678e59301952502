"""The commands that talk to a gateway: to a live one, and to nobody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqserve.gateway import Gateway
from seqserve.signature import Signature
from support.archives import make_archive
from support.command import Ended, seqserve
from support.contract import signature_document
from support.engines import FakeEngine
from support.gateway import running_gateway

WHITE = np.full((2, 3), 255, np.uint8)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """White, and of the exact size: `tiny` gives class 0, `dark`, 0.5 + 0.5 / 2."""
    path = tmp_path / "picture.png"
    Image.fromarray(WHITE).save(path)
    return path


@pytest.fixture
async def gateway(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    """`tiny` 1 and 2 (3 fails its golden check), and `line` 1, which takes no pictures."""
    wrong = (np.full((1, 6), 0.5, np.float32), np.array([[0.9, 0.1]], np.float32))
    line = Signature.parse(signature_document("line"))
    half = (np.full((1, 1), 0.5, np.float32), np.full((1, 1), 1.0, np.float32))
    archives = [
        make_archive(tmp_path, "tiny", "1"),
        make_archive(tmp_path, "tiny", "2"),
        make_archive(tmp_path, "tiny", "3", golden=wrong),
        make_archive(tmp_path, "line", "1", signature=line, golden=half),
    ]
    async with running_gateway(archives, engine) as running:
        yield running


async def ask(gateway: Gateway, *arguments: str) -> Ended:
    """The command in a thread of its own, since the gateway lives on this one's event loop."""
    address = ("--address", f"127.0.0.1:{gateway.grpc_port}")
    return await asyncio.to_thread(seqserve, *arguments, *address)


async def test_models_lists_every_version_with_its_state_and_why(gateway: Gateway) -> None:
    ended = await ask(gateway, "models")

    assert (ended.status, ended.errors) == (0, "")
    rows = [line.split() for line in ended.output.splitlines() if line.split()[:1] in (["tiny"], ["line"])]
    assert [row[:3] for row in rows] == [
        ["line", "1", "ready"], ["tiny", "1", "ready"], ["tiny", "2", "ready"], ["tiny", "3", "failed:"],
    ]  # fmt: skip
    assert "ARCHIVE_INVALID, see the log" in ended.output
    assert "[2,3]" in ended.output


@pytest.mark.parametrize("service", ["", "liveness", "model/tiny", "model/tiny/2"])
async def test_health_of_what_serves_is_exit_status_0(gateway: Gateway, service: str) -> None:
    assert await ask(gateway, "health", service) == Ended(0, "SERVING\n", "")


@pytest.mark.parametrize(
    ("service", "word"), [("model/tiny/3", "NOT_SERVING"), ("model/nobody", "NOT_FOUND")]
)
async def test_health_of_what_does_not_is_exit_status_1(gateway: Gateway, service: str, word: str) -> None:
    ended = await ask(gateway, "health", service)

    assert (ended.status, ended.output) == (1, "")
    assert ended.one_line.startswith(f"seqserve: health of {service} at 127.0.0.1:")
    assert ended.one_line.endswith(word)


async def test_predict_names_the_best_label_of_each_picture(gateway: Gateway, picture: Path) -> None:
    black = picture.with_name("black.png")
    Image.fromarray(255 - WHITE).save(black)

    ended = await ask(gateway, "predict", str(picture), str(black), "--model", "tiny")

    assert ended == Ended(0, f"{picture}: dark (75.0%)\n{black}: bright (75.0%)\n", "")


async def test_predict_shows_a_label_that_would_move_a_terminal(
    tmp_path: Path, engine: FakeEngine, picture: Path
) -> None:
    document = signature_document("tiny_image").replace(b'"dark"', b'"\\u001b[2Jdark"')
    archive = make_archive(tmp_path, "tiny", signature=Signature.parse(document))

    async with running_gateway([archive], engine) as gateway:
        ended = await ask(gateway, "predict", str(picture), "--model", "tiny")

    assert ended.output == f"{picture}: ?[2Jdark (75.0%)\n"


async def test_predict_names_as_many_labels_as_asked(gateway: Gateway, picture: Path) -> None:
    ended = await ask(gateway, "predict", str(picture), "--model", "tiny", "--top-k", "2")

    assert ended.output == f"{picture}: dark (75.0%), bright (25.0%)\n"


async def test_predict_says_what_it_did_to_a_photo(gateway: Gateway, tmp_path: Path) -> None:
    photo = np.full((60, 90), 250, np.uint8)
    photo[20:40, 30:60] = 10
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(path, quality=95)

    ended = await ask(gateway, "predict", str(path), "--model", "tiny")

    said, answer = ended.output.splitlines()
    assert said == f"{path}: inverted, cropped to 30x20, resized to 3x2"
    assert answer.startswith(f"{path}: ")
    assert answer.endswith("%)")


async def test_predict_leaves_to_the_model_what_the_model_does(tmp_path: Path, engine: FakeEngine) -> None:
    archives = [
        make_archive(tmp_path, name, signature=Signature.parse(signature_document(key)))
        for name, key in (("fits", "any_size"), ("turns", "negative"), ("both", "any_size_negative"))
    ]
    path = tmp_path / "photo.png"
    Image.fromarray(np.full((60, 90), 255, np.uint8)).save(path)

    async with running_gateway(archives, engine) as gateway:
        answers = {
            name: await ask(gateway, "predict", str(path), "--model", name)
            for name in ("fits", "turns", "both")
        }

    assert answers["fits"] == Ended(0, f"{path}: dark (75.0%)\n", "")
    assert answers["turns"].output.startswith(f"{path}: resized to 3x2\n{path}: bright (75.0%)")
    assert answers["both"] == Ended(0, f"{path}: bright (75.0%)\n", "")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nobody", "no ready model 'nobody' (see `seqserve models`)"),
        ("line", "model 'line' takes no images"),
    ],
)
async def test_predict_with_a_model_that_cannot_is_one_line(
    gateway: Gateway, picture: Path, model: str, words: str
) -> None:
    ended = await ask(gateway, "predict", str(picture), "--model", model)

    assert (ended.status, ended.output) == (1, "")
    assert ended.one_line.endswith(words)


async def test_predict_refuses_a_file_that_is_no_picture(gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("seven")

    ended = await ask(gateway, "predict", str(path), "--model", "tiny")

    assert (ended.status, ended.output) == (1, "")
    assert ended.one_line == f"seqserve: {path}: no readable PNG or JPEG"


async def test_a_refusal_of_the_gateway_is_one_line_with_its_code(
    gateway: Gateway, engine: FakeEngine, picture: Path
) -> None:
    engine.fault = RuntimeError("secret")

    ended = await ask(gateway, "predict", str(picture), "--model", "tiny")

    assert ended.status == 1  # standard output has the gateway's own log, whose home is this process
    assert ": INTERNAL: internal error; request id " in ended.one_line
    assert "secret" not in ended.one_line


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that is taken, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("command", ["models", "health", "predict"])
def test_where_nobody_listens_a_command_says_so_in_one_line(nobody: str, picture: Path, command: str) -> None:
    images = [str(picture)] if command == "predict" else []
    ended = seqserve(command, *images, "--address", nobody)

    assert (ended.status, ended.output) == (1, "")
    assert nobody in ended.one_line
    assert "no gateway answers at" in ended.one_line
    assert "seqserve serve" in ended.one_line


def test_with_debug_a_refusal_shows_where_it_came_from(nobody: str) -> None:
    ended = seqserve("--debug", "models", "--address", nobody)

    assert ended.status == 1
    assert "Traceback" in ended.errors
    assert "seqserve.client.errors.Unavailable" in ended.errors
    assert ended.errors.splitlines()[-1].startswith(f"seqserve: no gateway answers at {nobody} ")


@pytest.mark.parametrize(
    "address", ["", "foo", "127.0.0.1:0", "127.0.0.1:99999", "http://127.0.0.1:8001", "a b:1"]
)
def test_what_is_no_address_is_refused_before_anybody_is_asked(address: str) -> None:
    ended = seqserve("models", "--address", address)

    assert ended.status == 2
    assert "accepted: HOST:PORT" in ended.one_line
