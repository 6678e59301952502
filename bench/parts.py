"""What is measured beside the digits' rounds: overload of a slow model, many models, starts, building."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench.digit_servers import Servers, digit_servers
from bench.growth import FURTHER, Stores, measure, write_copies
from bench.labels import MANY_MODELS, ONE, PEERS, SLOW, SLOW_OVERLOADS, SLOW_PEAK, with_models
from bench.load import on_core
from bench.measured import Measured
from bench.messages import golden_rows
from bench.neutral import CannotRun, neutral_check
from bench.probing import wait_until_serving
from bench.rounds import MODELS_ROUND, ROUNDS, SLOW_ROUND
from bench.serving import ServerFailed, first_right_answer, gateway
from bench.setting import Setting
from bench.starts import Starts
from bench.store import store_of
from bench.trials import Bench, Point, run_turns
from examples.demo.command import SEQSERVE

REST = ("overload", "models", "starts", "growth", "build")
PARTS = (*ROUNDS, *REST)
SETTLING = tuple(SLOW_OVERLOADS.items())[-1]


def measure_parts(setting: Setting, only: tuple[str, ...], measured: Measured) -> None:
    """Those that were asked for. Raises ServerFailed, GeneratorFailed, WrongAnswer, CalledProcessError."""
    if any(part in ROUNDS for part in only):
        _digits(setting, only, measured)
    for part in REST:
        if part in only:
            setting.say(f"part: {part}")
            BY_NAME[part](setting, measured)


def _digits(setting: Setting, only: tuple[str, ...], measured: Measured) -> None:
    with digit_servers(setting) as servers:
        measured.absent |= servers.absent
        bench = Bench(setting.generator, servers.there, setting.seconds, PEERS)
        for name in (name for name in ROUNDS if name in only):
            setting.say(f"part: {name}")
            turns = list(ROUNDS[name].turns(setting.pairs, setting.beside))
            results = run_turns(bench, turns, setting.say)
            measured.results.trials += results.trials
            measured.absent |= results.failed
        if "16" in only:
            _neutral(setting, servers, measured)


def _neutral(setting: Setting, servers: Servers, measured: Measured) -> None:
    """What there is of it stays."""
    try:
        for found in neutral_check(setting, servers.there):
            setting.say(f"perf_analyzer: {found}")
            measured.neutral.append(found)
    except (CannotRun, subprocess.TimeoutExpired) as error:
        setting.say(f"perf_analyzer is left out: {error}")
        measured.absent["perf_analyzer"] = str(error)


def _overload(setting: Setting, measured: Measured) -> None:
    """Each front has been overloaded once before anything counts, so that what it keeps of that is there."""
    store = setting.folder / "slow-store"
    store.mkdir()
    command = [sys.executable, "-m", "bench.slow_model", str(store), SLOW]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own
    rows = golden_rows(next(store.glob("*.mar")), 1)
    generator = replace(setting.generator, rows={SLOW_PEAK.work: rows})
    with ExitStack() as stack:
        servers = {
            (label, SLOW_PEAK.work): stack.enter_context(gateway(store, setting.core, setting.folder, front))
            for label, front in setting.fronts.items()
        }
        for server in servers.values():
            first_right_answer(server, rows)
        bench, (peaks, load) = Bench(generator, servers, setting.seconds), SETTLING
        settling = [
            point
            for label in setting.fronts
            for point in (Point(label, SLOW_PEAK), Point(label, load, peaks, SLOW_PEAK))
        ]
        setting.say("before anything counts:")
        run_turns(bench, settling, setting.say)
        turns = list(SLOW_ROUND.turns(setting.pairs, setting.beside))
        measured.results.trials += run_turns(bench, turns, setting.say).trials


def _models(setting: Setting, measured: Measured) -> None:
    rows = setting.generator.rows[ONE.work]
    many = _with_copies(setting, MANY_MODELS - 1)
    with ExitStack() as stack:
        servers = {
            (with_models(label, count), ONE.work): stack.enter_context(
                gateway(store, setting.core, setting.folder, setting.fronts[label])
            )
            for label in [setting.quickest]
            for count, store in ((1, setting.store), (MANY_MODELS, many))
        }
        for server in servers.values():
            first_right_answer(server, rows)
            wait_until_serving(server)
        turns = list(MODELS_ROUND.turns(setting.pairs, setting.beside))
        bench = Bench(setting.generator, servers, setting.seconds)
        measured.results.trials += run_turns(bench, turns, setting.say).trials


def _starts(setting: Setting, measured: Measured) -> None:
    starts = Starts(setting.store, setting.core, setting.generator)
    for label, front in setting.fronts.items():
        measured.starts[label] = starts.measure(front, setting.pairs, setting.say)


def _growth(setting: Setting, measured: Measured) -> None:
    stores = Stores(setting.store, _with_copies(setting, FURTHER))
    measured.growth[setting.quickest] = measure(setting, stores, setting.fronts[setting.quickest])


def _with_copies(setting: Setting, count: int) -> Path:
    store = store_of(setting.archive, setting.folder / f"with-{count}-copies")
    write_copies(setting.archive, store, count)
    return store


def _build(setting: Setting, measured: Measured) -> None:
    """On both cores."""
    started = time.monotonic()
    command = [SEQSERVE, "build", "--all", "--output", str(setting.folder / "built")]
    with on_core(setting.core, setting.load_core):
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own
    if done.returncode:
        raise ServerFailed(f"seqserve build --all ended with {done.returncode}:\n{done.stderr[-2000:]}")
    measured.build_seconds = time.monotonic() - started
    setting.say(f"seqserve build --all: {measured.build_seconds:.0f} s")


BY_NAME = {
    "overload": _overload,
    "models": _models,
    "starts": _starts,
    "growth": _growth,
    "build": _build,
}
