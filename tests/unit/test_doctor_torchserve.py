"""What the doctor says of TorchServe's folder, of what others left behind, and of addresses."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from seqserve.doctor.addresses import Server, Unreached, check_servers, servers_of
from seqserve.doctor.finding import ok
from seqserve.doctor.pid_file import check_pid_file
from seqserve.doctor.programs import words_of
from seqserve.doctor.torchserve_folder import check_folder
from seqserve.settings_reading import read_settings

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One that only we may read."""
    made = tmp_path / "torchserve"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def held(folder: Path) -> Iterator[Path]:
    """The same, with a lock that a running TorchServe would hold."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


# ---- the folder ----


def test_a_private_folder_is_fine(folder: Path) -> None:
    (folder / "lock").touch()

    assert [one.found for one in check_folder(folder)] == [f"{folder} is private, and nobody runs in it"]


def test_a_folder_that_will_be_made_is_fine_and_is_not_made(tmp_path: Path) -> None:
    later = tmp_path / "a" / "b"

    assert [one.found for one in check_folder(later)] == [f"{later} will be made"]
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_is_fine_where_it_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Path(tempfile.gettempdir())
    assert check_folder(None) == [ok("torchserve-folder", f"a temporary one will be made in {parent}")]
    monkeypatch.setattr(os, "access", lambda *_: False)
    [finding] = check_folder(None)
    assert finding.status == "fault"
    assert f"{parent} cannot be written to" in finding.found


def test_a_folder_that_is_open_to_others_is_a_fault(folder: Path) -> None:
    folder.chmod(0o750)
    [finding] = check_folder(folder)

    assert finding.status == "fault"
    assert "mode 0750" in finding.found
    assert finding.advice == f"Close it: chmod 700 {folder}."


def test_a_file_in_its_place_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o600)

    assert "is no folder" in check_folder(tmp_path / "file")[0].found
    assert "cannot be made" in check_folder(tmp_path / "file" / "below")[0].found


def test_somebody_elses_folder_is_a_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    assert f"belongs to user {owner}" in check_folder(folder)[0].found


@pytest.mark.parametrize("is_temporary", [False, True])
def test_a_path_that_is_too_long_for_sockets_is_a_fault(tmp_path: Path, *, is_temporary: bool) -> None:
    long = tmp_path / ("x" * 100)
    [finding] = check_folder(None, long) if is_temporary else check_folder(long)

    assert finding.status == "fault"
    assert "too long for the sockets" in finding.found
    assert "--torchserve-folder" in finding.advice


def test_a_folder_in_which_a_torchserve_runs_is_a_fault(held: Path) -> None:
    (held / "key_file.json").touch()
    [finding] = check_folder(held)

    assert finding.status == "fault"
    assert f"another gateway's TorchServe runs in {held}" in finding.found


def test_keys_that_one_left_are_a_warning_and_are_not_shown(folder: Path) -> None:
    (folder / "key_file.json").write_text('{"inference": {"key": "secret"}}')
    (folder / "lock").touch()
    [finding] = check_folder(folder)

    assert finding.status == "warning"
    assert finding.advice.endswith(f"rm {folder / 'key_file.json'}.")
    assert "secret" not in f"{finding}"


# ---- the pid file of the `torchserve` command ----


def test_no_pid_file_is_fine(tmp_path: Path) -> None:
    assert check_pid_file(tmp_path)[0].status == "ok"


@pytest.mark.parametrize(
    ("text", "runs", "words", "advice"),
    [
        ("77", True, "process 77", "`torchserve --stop`"),
        ("77\n", False, "left by a TorchServe that is gone", "rm "),
        ("many", False, "it holds no number", "rm "),
        ("", False, "it holds no number", "rm "),
        ("-77", True, "it holds no number", "rm "),
        ("9" * 60, True, "it holds no number", "rm "),
        ("7" * 1000, True, "it has more than 64 bytes", "rm "),
    ],
)
def test_a_pid_file_is_a_warning(tmp_path: Path, text: str, *, runs: bool, words: str, advice: str) -> None:
    (tmp_path / ".model_server.pid").write_text(text)
    [finding] = check_pid_file(tmp_path, lambda program: runs and program == 77)

    assert finding.status == "warning"
    assert words in finding.found
    assert advice in finding.advice


def test_what_others_have_put_in_the_place_of_the_pid_file_is_not_waited_for(tmp_path: Path) -> None:
    """The folder is everybody's, so the file may be a pipe without a writer, or a link to anything."""
    path = tmp_path / ".model_server.pid"
    os.mkfifo(path)
    pipe = check_pid_file(tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    link = check_pid_file(tmp_path)

    assert [finding.status for finding in pipe + link] == ["warning", "warning"]
    assert "cannot be read: it is not a regular file" in pipe[0].found
    assert "cannot be read: it is a link" in link[0].found


def test_a_pid_that_another_program_has_now_is_no_torchserve(tmp_path: Path) -> None:
    (tmp_path / ".model_server.pid").write_text(str(os.getpid()))

    assert "is gone" in check_pid_file(tmp_path)[0].found


def test_a_program_is_told_without_its_arguments() -> None:
    words = words_of(os.getpid())

    assert words == f"{psutil.Process().name()} (process {os.getpid()})"
    assert words_of(2**22 + 1) is None  # no process has such an id


# ---- addresses ----


def servers(addresses: str, **flags: object) -> list[Server]:
    return servers_of(read_settings({"engine": "torchserve", "torchserve_address": addresses, **flags}))


def test_each_address_is_told_by_itself() -> None:
    async def call(server: Server) -> None:
        if server.address.port == 2:
            raise Unreached("no connection: No route", "Mend it.")

    findings = check_servers(servers("one:1,[::1]:2"), call)

    assert [(one.status, one.found) for one in findings] == [
        ("ok", "one:1 answers without TLS"),
        ("fault", "[::1]:2: no connection: No route"),
    ]
    assert findings[1].advice == "Mend it."


def test_tls_and_token_are_told() -> None:
    async def call(server: Server) -> None:
        assert server.tls_name == "one"  # the gateway knows all of them by the first one's name

    flags = {"torchserve_tls": True, "torchserve_token_file": "/keys/key_file.json"}
    findings = check_servers(servers("one:1,two:2", **flags), call)

    assert [one.found for one in findings] == [
        "one:1 answers over TLS and takes the token", "two:2 answers over TLS and takes the token"
    ]  # fmt: skip
