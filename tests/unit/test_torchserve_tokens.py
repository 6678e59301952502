"""Where TorchServe's tokens are read from, and when they are renewed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seqserve.engines.torchserve.tokens import KeyFile, NoTokens, TokenFile, authorization
from seqserve.errors import EngineUnavailable

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KEYS = {
    "management": {"key": "m-1", "expiration time": "2030-01-01T01:00:00.123456789Z"},  # as Java writes it
    "inference": {"key": "i-1", "expiration time": "2029-12-31T23:59:30Z"},
    "API": {"key": "a-1"},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "key_file.json"
    file.write_text(json.dumps(KEYS, indent=2))
    return file


def test_the_three_keys_are_told_apart(path: Path) -> None:
    keys = KeyFile(path)

    assert (keys.inference(), keys.management(), keys.api()) == ("i-1", "m-1", "a-1")


def test_what_is_left_of_a_token_is_counted_by_the_clock(path: Path) -> None:
    keys = KeyFile(path, now=lambda: NOW)

    assert keys.seconds_left("management") == pytest.approx(3600.123, abs=0.001)
    assert keys.seconds_left("inference") == -30.0


def test_the_file_is_read_again_only_when_told(path: Path) -> None:
    keys = KeyFile(path)
    assert keys.inference() == "i-1"
    path.write_text(json.dumps(KEYS | {"inference": {"key": "i-2"}}))
    assert keys.inference() == "i-1"
    keys.forget()
    assert keys.inference() == "i-2"


@pytest.mark.parametrize("text", ['{"inference": {"ke', "", "[]", "null"])
def test_a_file_that_is_just_being_written_does_no_harm(path: Path, text: str) -> None:
    keys = KeyFile(path)
    assert keys.inference() == "i-1"
    path.write_text(text)
    keys.forget()
    assert keys.inference() == "i-1"
    path.write_text(json.dumps(KEYS | {"inference": {"key": "i-2"}}))
    assert keys.inference() == "i-2", "it is read until it can be"


@pytest.mark.parametrize("document", [None, {}, {"inference": {}}, {"inference": "i-1"}, {"inference": None}])
def test_a_file_without_the_key_is_an_outage(tmp_path: Path, document: object) -> None:
    file = tmp_path / "key_file.json"
    if document is not None:
        file.write_text(json.dumps(document))

    with pytest.raises(EngineUnavailable, match="tokens cannot be read"):
        KeyFile(file).inference()


@pytest.mark.parametrize("when", ["tomorrow", "", None, "2030-01-01T01:00:00"])
def test_a_time_that_cannot_be_read_is_an_outage(path: Path, when: object) -> None:
    path.write_text(json.dumps({"inference": {"key": "i-1", "expiration time": when}}))

    with pytest.raises(EngineUnavailable, match="tokens cannot be read"):
        KeyFile(path).seconds_left("inference")


@pytest.mark.parametrize("text", [json.dumps(KEYS), "i-1", "i-1\n", "  i-1 \n\n"])
def test_an_operators_file_holds_the_keys_or_the_token_itself(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)

    assert TokenFile(file).inference() == "i-1"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no token"),
        (b"\n", "holds no token"),
        (b"two words", "holds no token"),
        (b"two\nlines", "holds no token"),
        ("schlüssel".encode(), "holds no token"),
        (b"\xff\xfe", "cannot be read"),
        (b"{", "no inference key"),
        (b'{"management": {"key": "m"}}', "no inference key"),
    ],
)
def test_anything_else_in_it_is_an_outage_with_words(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)

    with pytest.raises(EngineUnavailable, match=says) as caught:
        TokenFile(file).inference()

    assert content.decode(errors="replace").strip() not in str(caught.value) or not content.strip()


def test_an_operators_file_is_read_again_when_told_also_after_it_was_away(tmp_path: Path) -> None:
    file = tmp_path / "token"
    tokens = TokenFile(file)
    with pytest.raises(EngineUnavailable, match="cannot be read"):
        tokens.inference()
    file.write_text("i-1")
    assert tokens.inference() == "i-1"
    file.write_text("i-2")
    assert tokens.inference() == "i-1"
    tokens.note_refusal()
    assert tokens.inference() == "i-2"


def test_without_authorization_there_is_no_header() -> None:
    assert authorization(NoTokens().inference()) == ()
    assert authorization("i-1") == (("authorization", "Bearer i-1"),)
