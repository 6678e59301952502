"""What a run of the benchmark says at its end."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import cast

import pytest

from bench import fronts
from bench.fronts import measure_gpu, tell
from bench.labels import AIO, GATEWAY, NATIVE, SIXTY_FOUR
from bench.measured import Measured
from bench.setting import Setting
from bench.targets import GPU, TARGETS
from bench.verdicts import NO_REASON, judge
from support.trials import results, series


def said(capsys: pytest.CaptureFixture[str], ours: float) -> list[str]:
    of = Measured(
        results(series(GATEWAY, SIXTY_FOUR, ours), series(AIO, SIXTY_FOUR, 1000.0)),
        absent={NATIVE: "not built here"},
    )
    tell(judge(of, {}))
    return capsys.readouterr().out.splitlines()


def test_what_is_met_stands_with_its_figure(capsys: pytest.CaptureFixture[str]) -> None:
    first = "met       Python front, 64 callers, throughput against empty grpc.aio: 0.90 (0.90 to 0.90), target ≥ 0.8"

    assert said(capsys, 900.0)[0] == first


def test_a_miss_asks_for_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, 700.0)

    assert lines[0].startswith("missed    Python front, 64 callers")
    assert lines[0].endswith(f"target ≥ 0.8: {NO_REASON}")
    assert lines[-1] == "missed without a reason: write one for python-64 in bench/reasons.toml"


def test_what_was_not_measured_stands_together_by_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    [line] = [line for line in said(capsys, 900.0) if line.startswith("not measured, not built here: ")]

    names = line.removeprefix("not measured, not built here: ").split(", ")
    assert set(names) == {target.name for target in TARGETS if NATIVE in target.needs}


def test_a_gpu_that_torch_does_not_see_costs_its_target_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = CompletedProcess([], 1, stdout="", stderr="Traceback\nSettingsInvalid: torch sees 0 GPUs here\n")
    monkeypatch.setattr(fronts, "has_gpu", lambda: True)
    monkeypatch.setattr("bench.fronts.subprocess.run", lambda *_, **__: ended)
    of = Measured()

    measure_gpu(cast(Setting, SimpleNamespace(archive=tmp_path, pairs=6, core=0)), of)

    [found] = [each for each in judge(of, {}) if each.target.name == GPU]
    assert found.why == "the GPU that is here could not be used: SettingsInvalid: torch sees 0 GPUs here"
