"""`make audit`: clean, vulnerable or not known, with a program in pip-audit's place."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from supply.advisories import ask
from supply.audit import CLEAN, FAULTY, NO_DATA, VULNERABLE, main
from supply.pins import Pin, read_pins

LOCK = f"alpha==1.0 \\\n    --hash=sha256:{'0' * 64}\n    # via mine\n"
FOUND = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1", "2.0"], "description": "bad"}
AUDITOR = """
import json, pathlib, sys
script = json.loads(pathlib.Path(sys.argv[1]).read_text())
asked = pathlib.Path(sys.argv[-1]).name
assert ("--no-deps" in sys.argv) == (asked == "torch.txt")
sys.stderr.write(script.get("complaints", ""))
sys.stdout.write(script.get(asked, script.get("printed", "")))
sys.exit(script["status"])
"""

Json = dict[str, Any]


def answer(*vulnerabilities: Json, name: str = "alpha", version: str = "1.0") -> str:
    found = {"name": name, "version": version, "vulns": list(vulnerabilities)}
    return json.dumps({"dependencies": [found], "fixes": []})


NOTHING: Json = {"lock.txt": answer(), "torch.txt": answer(name="torch", version="2.13.0"), "status": 0}
VULNERABLE_ALPHA: Json = {**NOTHING, "lock.txt": answer(FOUND), "status": 1}


class Audit:
    """Runs the audit of one lock in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.write("lock.txt", LOCK)
        self.write("ignored.toml", "")
        self.program = [sys.executable, str(self.write("auditor.py", AUDITOR)), str(folder / "script.json")]

    def write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    def run(self, script: Json, torch: str = "torch==2.13.0+cu130 --index-url x") -> int:
        self.write("script.json", json.dumps(script))
        ignored = str(self._folder / "ignored.toml")
        lock = str(self._folder / "lock.txt")
        return main([lock, "--torch", torch, "--ignored", ignored, "--auditor", *self.program])


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(tmp_path)


def ignoring(**differing: Any) -> str:
    entry = {"package": "alpha", "id": "CVE-1", "reason": "never called", "until": "9999-01-01", **differing}
    quoted = (f"{key} = {text if key == 'until' else json.dumps(text)}" for key, text in entry.items())
    return "[[ignored]]\n" + "\n".join(quoted)


def test_nothing_known_is_0(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.run(NOTHING) == CLEAN
    assert capsys.readouterr().out == "audit: nothing known against 2 pins, 0 ignored\n"


def test_a_vulnerability_is_1_and_named(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.run(VULNERABLE_ALPHA) == VULNERABLE
    assert capsys.readouterr().out == "alpha 1.0 PYSEC-1 CVE-1 fixed in 1.1, 2.0\n"


def test_one_in_torch_counts(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    torch = answer({**FOUND, "fix_versions": []}, name="torch", version="2.13.0")

    assert audit.run({**NOTHING, "torch.txt": torch, "status": 1}) == VULNERABLE
    assert capsys.readouterr().out == "torch 2.13.0 PYSEC-1 CVE-1 not fixed\n"


@pytest.mark.parametrize(
    "differing",
    [
        {"lock.txt": "", "complaints": "Traceback\nConnectionError: not reached\n", "status": 1},
        {"lock.txt": answer()[:-5]},
        {"lock.txt": "[]"},
        {"lock.txt": json.dumps({"dependencies": []})},
        {"lock.txt": answer(version="1.1")},
        {"lock.txt": json.dumps({"dependencies": [{"name": "alpha", "skip_reason": "not found"}]})},
        {"complaints": "WARNING: OSV vuln entry 'X' is missing 'affected' list\n"},
        {"torch.txt": ""},
    ],
)
def test_no_answer_and_half_an_answer_are_3(
    audit: Audit, capsys: pytest.CaptureFixture[str], differing: Json
) -> None:
    assert audit.run({**NOTHING, **differing}) == NO_DATA
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("audit: not known whether anything is vulnerable (exit 3); no data for ")
    assert told.err.count("\n") == 1


def test_an_answer_that_takes_too_long_is_no_data(audit: Audit, tmp_path: Path) -> None:
    pins = read_pins(tmp_path / "lock.txt")

    assert ask(audit.program, tmp_path / "lock.txt", pins, seconds=0).gap == "no answer within 0 seconds"


def test_without_the_program_there_is_no_data(tmp_path: Path) -> None:
    told = ask([str(tmp_path / "missing")], tmp_path / "torch.txt", {"torch": Pin("torch", "2.13.0")})

    assert told.gap.endswith("No such file or directory")


def test_what_is_known_counts_more_than_a_gap(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.run({**VULNERABLE_ALPHA, "torch.txt": ""}) == VULNERABLE
    assert "no data for torch" in capsys.readouterr().err


def test_what_is_ignored_does_not_count(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    audit.write("ignored.toml", ignoring())

    assert audit.run(VULNERABLE_ALPHA) == CLEAN
    assert capsys.readouterr().out.endswith("1 ignored\n")


@pytest.mark.parametrize(
    "differing",
    [
        {"until": dt.datetime.now(dt.UTC).date()},
        {"until": "2020-01-01"},
        {"package": "beta"},
        {"id": "CVE-2"},
    ],
)
def test_it_counts_from_its_last_day_on_and_for_no_other(audit: Audit, differing: Json) -> None:
    audit.write("ignored.toml", ignoring(**differing))

    assert audit.run(VULNERABLE_ALPHA) == VULNERABLE


@pytest.mark.parametrize(
    "text",
    [
        "[[ignored]]\npackage = 'alpha'",
        "[ignored",
        "other = 1",
        ignoring(reason=" "),
        ignoring(until='"2027-01-31"'),
        ignoring(extra="x"),
    ],
)
def test_a_faulty_list_of_what_is_ignored_is_2(audit: Audit, text: str) -> None:
    audit.write("ignored.toml", text)

    assert audit.run(NOTHING) == FAULTY


def test_a_faulty_lock_or_pin_is_2(audit: Audit) -> None:
    assert audit.run(NOTHING, torch="torch") == FAULTY
    audit.write("lock.txt", "alpha==1.0\n")
    assert audit.run(NOTHING) == FAULTY


def test_our_own_list_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK)

    assert main([str(lock), "--torch", "torch==2.13.0", "--auditor", str(tmp_path / "missing")]) == NO_DATA
    assert "lock.txt, torch" in capsys.readouterr().err
