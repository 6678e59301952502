"""What the attack on a front calls a fault, what it keeps, and that an ended gateway ends no run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fuzz import __main__ as command
from fuzz.attacks import Attack
from fuzz.page import Found
from fuzz.sending import send_all
from fuzz.targets import TARGETS
from support.served import Served


@pytest.fixture(autouse=True)
def crashes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("fuzz.target.CRASHES", tmp_path / "crashes")
    return tmp_path / "crashes"


@pytest.mark.parametrize(
    ("front", "code", "seconds", "is_fault"),
    [
        ("native", "OK", 0.1, False),
        ("native", "INVALID_ARGUMENT", 0.1, False),
        ("native", "INTERNAL", 0.1, True),
        ("native", "UNAVAILABLE", 0.1, True),
        ("python", "UNAVAILABLE", 0.1, False),
        ("python", "UNKNOWN", 0.1, True),
        ("python", "DEADLINE_EXCEEDED", 0.1, False),
        ("python", "DEADLINE_EXCEEDED", 60.0, True),
        ("native", "DEADLINE_EXCEEDED", 60.0, True),
    ],
)
def test_a_hang_and_errors_of_the_gateway_are_faults(
    front: str, code: str, seconds: float, *, is_fault: bool
) -> None:
    made = Attack(front)
    made.note(code, seconds, "a call")
    assert bool(made.faults) == is_fault
    assert made.codes == {code: 1}


@pytest.fixture
def ended(tmp_path: Path) -> Served:
    """A gateway that is no more."""
    log = tmp_path / "gateway.log"
    log.write_text('{"event": "listening", "host": "127.0.0.1", "grpc_port": 1}\nlast words\n')
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    return Served(process, log)


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_gateway_that_has_ended_is_a_fault_and_what_was_sent_is_kept(
    ended: Served, crashes: Path
) -> None:
    made = Attack("native")
    await send_all(ended, 5, 100, made, lambda _: None)

    assert any("has ended with 3" in fault and "last words" in fault for fault in made.faults)
    assert made.connections == 8
    kept = read_all(crashes)
    assert kept == {f"native-{name}": data for name, data in made.latest.items()}
    assert len([name for name in kept if name.endswith(".wire")]) == 8
    assert len([name for name in kept if name.endswith(".call")]) == 16


def test_a_target_that_cannot_be_run_ends_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(name: str, _plan: object) -> Found:
        if name == "keys":
            raise OSError("no room")
        return Found(name, f"{name}: ran", 0)

    monkeypatch.setattr(command, "_kind", lambda _: failing)
    ended = CliRunner().invoke(command.main, ["keys", "golden", f"--tools={tmp_path}"])
    assert ended.exit_code == 1
    assert "keys: FAILED OSError('no room')\ngolden: ran" in ended.output


def test_the_settings_of_whoever_runs_the_tests_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQSERVE_GRPC_PORT", "no port")
    TARGETS["settings"].check(b"http_port = 1\n")
    assert os.environ["SEQSERVE_GRPC_PORT"] == "no port"
