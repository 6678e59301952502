"""What the gateway costs in front of TorchServe: `python -m bench.through_torchserve`, about 7 minutes.

Gateway and TorchServe share one core, this program has another. TorchServe is kept busy first, because Java
compiles while it runs; then all forms of each path (transport, number of callers) are tried, and the fastest
form of each is compared with the gateway's fastest in pairs. The exit status tells wrong answers (1), never
the speed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import grpc

from bench.digit_loads import BATCH, DigitLoads, digit_loads
from bench.load import Load, WrongAnswer, measure, on_core
from bench.machine import facts, warn_of_other_work
from bench.options import SHOWN, make_parser, read
from bench.pairs import Ratio, in_turns, ratio_of
from bench.store import find_archive
from bench.through import write_ratios
from examples.demo.command import CommandFailed, RunningGateway, start_gateway

HEADER = "\n| form | examples/s | the generator's core |\n| --- | --- | --- |"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The gateway against one way to ask TorchServe alone. name: the target's. at_least: of the ratio."""

    name: str
    against: str
    forms: Sequence[Load]
    at_least: float

    def result(self, ratio: Ratio) -> str:
        """A row of the last table."""
        return f"| {self.against} | {ratio} | {self.at_least:g} | {ratio.verdict(self.at_least)} |"


def comparisons(loads: DigitLoads) -> list[Comparison]:
    """What the gateway is held against."""
    return [
        Comparison("through-raw", "the same raw request to TorchServe alone", loads.raw, 0.8),
        Comparison("through-json", "the same rows as JSON to TorchServe", loads.as_json, 2.0),
        Comparison("through-single", f"{BATCH} requests of one example to TorchServe", loads.one_by_one, 2.0),
    ]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often. warm_up_seconds: of TorchServe, before anything counts."""

    warm_up_seconds: float
    seconds: float
    pairs: int


async def compare(gateway: RunningGateway, archive: Path, plan: Plan) -> dict[str, Ratio]:
    """Measure and print; ratios by the targets' names. Raises WrongAnswer, or what a failed call raises."""
    ratios: dict[str, Ratio] = {}
    results = []
    async with digit_loads(gateway, archive) as loads:
        await measure(loads.raw[0], plan.warm_up_seconds)
        compared = comparisons(loads)
        rates = await _try_all([loads.through_gateway, *(each.forms for each in compared)], plan.seconds)
        ours = _fastest(loads.through_gateway, rates)
        for each in compared:
            theirs = _fastest(each.forms, rates)
            print(HEADER)
            our_rate, their_rate = partial(_rate, ours, plan.seconds), partial(_rate, theirs, plan.seconds)
            ratios[each.name] = ratio_of(await in_turns(our_rate, their_rate, plan.pairs))
            results.append(each.result(ratios[each.name]))
    print("\n| through the gateway, against | median (interval) | at least | |\n| --- | --- | --- | --- |")
    print("\n".join(results))
    return ratios


async def _try_all(paths: Sequence[Sequence[Load]], seconds: float) -> dict[Load, float]:
    """Examples a second of every form."""
    print(HEADER)
    return {form: await _rate(form, seconds) for forms in paths for form in forms}


async def _rate(load: Load, seconds: float) -> float:
    measured = await measure(load, seconds)
    print(f"| {load} | {measured.examples_per_second:,.0f} | {measured.generator_cpu:.0%} |", flush=True)
    return measured.examples_per_second


def _fastest(forms: Sequence[Load], rates: Mapping[Load, float]) -> Load:
    return max(forms, key=lambda form: rates[form])


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--warm-up-seconds", type=float, default=60.0, help=SHOWN)
    parser.add_argument("--output", type=Path, default=Path("docs"), help=SHOWN)
    return read(parser)


def main() -> int:
    """Start both, measure, print; 1 where an answer was wrong or missing."""
    asked = read_arguments()
    plan = Plan(asked.warm_up_seconds, asked.seconds, asked.pairs)
    with ExitStack() as stack:
        try:
            archive = find_archive(asked.model_store)
            warn_of_other_work([asked.server_core, asked.load_core])
            with on_core(asked.server_core):
                gateway = stack.enter_context(start_gateway(asked.model_store, "--engine", "torchserve"))
            stack.enter_context(on_core(asked.load_core))
            ratios = asyncio.run(compare(gateway, archive, plan))
        except (CommandFailed, WrongAnswer, grpc.aio.AioRpcError, aiohttp.ClientError) as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
    write_ratios(ratios, facts(), asked.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
