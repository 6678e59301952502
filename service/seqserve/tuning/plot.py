"""Throughput and latency against batch size, with the bound and the choice: a row of axes for each model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from seqserve.tuning.curves import Curve, Point
from seqserve.tuning.durations import as_written
from seqserve.tuning.results import Results, in_words

WIDTH_INCHES, ROW_INCHES, DOTS_PER_INCH = 11.5, 3.8, 150
RING: Any = {
    "marker": "o",
    "markersize": 13,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 1.8,
    "linestyle": "none",
}
STYLE: Any = {  # matplotlib lists every key as a literal of its own
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.hashsalt": "seqserve",
}


def write_plot(path: Path, results: Results) -> None:
    """Write the picture in the format of the path's suffix, .svg or .png. Raises OSError.

    Where the bound is out of reach nothing is marked as chosen.
    """
    curves = results.curves
    with mpl.rc_context():
        mpl.rcdefaults()  # a style of the user's own is made for other pictures
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH_INCHES, ROW_INCHES * len(curves)), layout="constrained")
        rows = figure.subplots(len(curves), 2, squeeze=False)
        for (throughput, latency), curve in zip(rows, curves, strict=True):
            _draw_throughput(throughput, curve, results)
            _draw_latency(latency, curve, results)
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_throughput(axes: Axes, curve: Curve, results: Results) -> None:
    for threads in curve.threads:
        rates = [point.examples_per_second for point in curve.on(threads)]
        axes.plot(_sizes(curve, threads), rates, marker="o", markersize=4, label=in_words(threads))
    _mark(axes, curve, results, lambda point: point.examples_per_second)
    _label(axes, curve, "examples/s, full batches one at a time")
    axes.set_title(f"{curve.model} {curve.version} on {results.device}", loc="left")


def _draw_latency(axes: Axes, curve: Curve, results: Results) -> None:
    for threads in curve.threads:
        sizes, points = _sizes(curve, threads), curve.on(threads)
        bounds = [1e3 * results.bound_seconds(point) for point in points]
        (line,) = axes.plot(sizes, bounds, marker="o", markersize=4, label=in_words(threads))
        medians = [1e3 * point.median_seconds for point in points]
        axes.plot(sizes, medians, linestyle=":", color=line.get_color())
    wish = f"--p99 {as_written(results.p99_seconds)}"
    axes.axhline(1e3 * results.p99_seconds, color="tab:red", linestyle="--", label=wish)
    _mark(axes, curve, results, lambda point: 1e3 * results.bound_seconds(point))
    _label(axes, curve, "milliseconds")
    axes.set_title("bound on a request's p99; dotted: a forward's median", loc="left")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))  # of both; inside it would hide lines


def _mark(axes: Axes, curve: Curve, results: Results, height: Callable[[Point], float]) -> None:
    """A ring around what is proposed, or around what is nearest where nothing is."""
    choice = results.choice_of(curve)
    nearest = next((miss.point for miss in results.misses if miss.curve is curve), None)
    point, what = (choice.point, "proposed") if choice else (nearest, "nearest")
    if point is not None:
        label = f"{what}: {point.batch_size} on {in_words(point.threads)}"
        axes.plot([point.batch_size], [height(point)], label=label, **RING)


def _label(axes: Axes, curve: Curve, name: str) -> None:
    sizes = sorted({point.batch_size for point in curve.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.12g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="batch size, examples", ylabel=name)


def _sizes(curve: Curve, threads: int) -> list[int]:
    return [point.batch_size for point in curve.on(threads)]
