"""perf_analyzer is given the golden rows and each front's address; where it is missing that is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bench import neutral
from bench.generator import Work
from bench.labels import GATEWAY, SIXTEEN
from bench.messages import Rows
from bench.neutral import CannotRun, Neutral, neutral_check
from bench.serving import Server
from bench.setting import Setting
from bench.wires import oip_doors

ROWS = Rows("digit_mlp", np.full((1, 4), 0.5, np.float32), np.full((1, 10), 0.1, np.float32))
PROGRAM = """#!{python} -SE
import sys
open({asked!r}, "w").write(" ".join(sys.argv[1:]))
open(sys.argv[sys.argv.index("-f") + 1], "w").write(
    "Concurrency,Inferences/Second,p50 latency,p99 latency\\n16,1234.5,900,2000\\n"
)
print("Connection refused", file=sys.stderr)
sys.exit({status})
"""


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    generator = SimpleNamespace(rows={SIXTEEN.work: ROWS})
    given: Any = SimpleNamespace(
        folder=tmp_path, generator=generator, fronts={GATEWAY: "python"}, seconds=2.0
    )
    return cast("Setting", given)


@pytest.fixture
def servers() -> dict[tuple[str, Work], Server]:
    server: Any = SimpleNamespace(doors=oip_doors("127.0.0.1:5"))
    return {(GATEWAY, SIXTEEN.work): cast("Server", server)}


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, status: int = 0) -> Path:
    """A program that sends nothing: it notes its options, and has its report beforehand."""
    program, asked = folder / "perf_analyzer", folder / "asked"
    program.write_text(PROGRAM.format(python=sys.executable, asked=str(asked), status=status))
    program.chmod(0o700)
    monkeypatch.setattr(neutral, "PROGRAM", program)
    return asked


def test_its_report_is_read(
    setting: Setting,
    servers: dict[tuple[str, Work], Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = install(tmp_path, monkeypatch)

    assert list(neutral_check(setting, servers)) == [Neutral(GATEWAY, 1234.5, 900.0, 2000.0)]
    for words in ("-u 127.0.0.1:5", "--concurrency-range 16", "--measurement-interval 2000", "-m digit_mlp"):
        assert words in asked.read_text()
    [example] = json.loads((tmp_path / "perf-analyzer.json").read_text())["data"]
    assert example == {"image": {"content": [0.5] * 4, "shape": [4]}}


def test_where_it_fails_its_last_words_are_told(
    setting: Setting,
    servers: dict[tuple[str, Work], Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(tmp_path, monkeypatch, status=1)

    with pytest.raises(CannotRun, match="perf_analyzer ended with 1: Connection refused"):
        list(neutral_check(setting, servers))


def test_where_it_is_not_installed_that_is_told(
    setting: Setting, servers: dict[tuple[str, Work], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neutral, "PROGRAM", neutral.CLIENTS / "bin" / "not_there")

    with pytest.raises(CannotRun, match=r"no \.venv-clients/bin/not_there: `make clients` installs it"):
        list(neutral_check(setting, servers))
