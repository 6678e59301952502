"""Throughput and latency by callers, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from statistics import median

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.labels import AIO, BY_CALLERS, CPP, GATEWAY, NATIVE, ON_TORCHSERVE
from bench.peers import mosec, torchserve, triton
from bench.trials import Results

SIZE_INCHES = (11.0, 3.6)
STYLES: Mapping[str, tuple[str, str]] = {
    GATEWAY: ("tab:blue", "o"),
    NATIVE: ("tab:red", "o"),
    AIO: ("darkgrey", "s"),
    CPP: ("dimgrey", "s"),
    **dict(zip(ON_TORCHSERVE, [("tab:cyan", "o"), ("tab:orange", "o")], strict=True)),
    mosec.BATCHED: ("tab:green", "^"),
    mosec.SINGLE: ("tab:green", "v"),
    triton.LABEL: ("tab:purple", "D"),
    torchserve.HTTP: ("tab:brown", "^"),
    torchserve.GRPC: ("tab:brown", "P"),
    torchserve.SINGLE: ("tab:brown", "v"),
}
"""Colour of the server and mark of its setting, by front, in the order of the legend."""


def plot(results: Results) -> str:
    """The picture; fronts that were not measured are left out."""
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    throughput, latency = figure.subplots(1, 2)
    for front in STYLES:
        _draw(throughput, latency, front, results)
    _label(throughput, "examples a second")
    _label(latency, "milliseconds, p50 and (dashed) p99")
    figure.legend(loc="outside right center", fontsize="small")
    with mpl.rc_context({"svg.hashsalt": "seqserve"}):
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _draw(throughput: Axes, latency: Axes, front: str, results: Results) -> None:
    measured = [(load.callers, results.of(front, load)) for load in BY_CALLERS if results.of(front, load)]
    if not measured:
        return
    callers = [count for count, _ in measured]
    rates = [median(trial.outcome.throughput for trial in trials) for _, trials in measured]
    colour, mark = STYLES[front]
    throughput.plot(callers, rates, color=colour, marker=mark, label=front)
    for name, style in (("p50_us", "-"), ("p99_us", "--")):
        values = [
            median(getattr(trial.outcome.good, name) for trial in trials) / 1e3 for _, trials in measured
        ]
        latency.plot(callers, values, style, color=colour, marker=mark)


def _label(axes: Axes, name: str) -> None:
    counts = [load.callers for load in BY_CALLERS]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xlabel("callers")
    axes.set_ylabel(name)
    axes.grid(visible=True, alpha=0.3)
