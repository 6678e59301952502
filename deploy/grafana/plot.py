"""Draws the dashboard's queries as a Prometheus answers them: `python -m deploy.grafana.plot URL FILE`."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from textwrap import fill
from typing import Any

import httpx
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, Formatter, PercentFormatter, StrMethodFormatter

from deploy.grafana.panel import Panel, Query, filled
from deploy.grafana.panels import panels

COLUMNS = 3
PANEL_INCHES = (4.2, 2.35)
STEPS = 160
CAPTION_LETTERS = 220
LABEL = re.compile(r"\{\{(\w+)\}\}")
FORMATS: dict[str, Formatter] = {
    "s": EngFormatter(unit="s", sep=" "),
    "ms": EngFormatter(unit="s", sep=" "),
    "bytes": EngFormatter(unit="B", sep=" "),
    "percentunit": PercentFormatter(1.0),
}
OTHERS = StrMethodFormatter("{x:g}")
UNITS = {"reqps": "calls/s", "ops": "1/s", "cps": "connections/s"}

Series = tuple[str, list[float], list[float]]  # name, seconds since the beginning, values


def drawn() -> list[Panel]:
    """The panels that are worth a picture, in their order."""
    return [panel for panel in panels() if panel.is_drawn]


def ask(url: str, query: Query, start: float, end: float, window: str) -> list[Series]:
    """The series of a query between two times, in seconds since 1970. Raises httpx.HTTPError."""
    parameters: dict[str, str | float] = {
        "query": filled(query.expr, window), "start": start, "end": end, "step": (end - start) / STEPS,
    }  # fmt: skip
    reply = httpx.get(f"{url}/api/v1/query_range", params=parameters, timeout=60).raise_for_status()
    return [_series(query.legend, found, start) for found in reply.json()["data"]["result"]]


def _series(legend: str, found: dict[str, Any], start: float) -> Series:
    labels = found["metric"]
    name = LABEL.sub(lambda match: str(labels.get(match[1], "")), legend)
    return name, [at - start for at, _ in found["values"]], [float(value) for _, value in found["values"]]


def plot(answers: Sequence[tuple[Panel, Sequence[Series]]], marks: Sequence[tuple[float, str]] = ()) -> str:
    """The picture as SVG. marks: what happened when, in seconds since the beginning."""
    rows = -(-len(answers) // COLUMNS)
    size = (PANEL_INCHES[0] * COLUMNS, PANEL_INCHES[1] * rows)
    figure = Figure(figsize=size, layout="constrained")
    places = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True).flatten()
    for place in places[-COLUMNS:]:
        place.set_xlabel("minutes", fontsize=7)
    if marks:
        happened = ";  ".join(f"{number}: {what}" for number, (_, what) in enumerate(marks, 1))
        figure.supxlabel(fill(happened, CAPTION_LETTERS), fontsize=8, x=0.01, ha="left")
    with mpl.rc_context({"svg.hashsalt": "seqserve"}):
        for place, (panel, series) in zip(places, answers, strict=False):
            _draw(place, panel, series, marks)
        for place in places[len(answers) :]:
            place.set_visible(False)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _draw(axes: Axes, panel: Panel, series: Sequence[Series], marks: Sequence[tuple[float, str]]) -> None:
    told = [each for each in series if any(each[2])] or series  # a line of zeros only fills the legend
    for name, seconds, values in told:
        axes.plot([each / 60 for each in seconds], values, label=name, linewidth=1.2)
    for number, (at, _) in enumerate(marks, 1):
        axes.axvline(at / 60, color="grey", linewidth=0.6, linestyle=":")
        axes.annotate(str(number), (at / 60, 1), xycoords=("data", "axes fraction"), fontsize=6, color="grey")
    if panel.red_above is not None and axes.get_ylim()[1] > panel.red_above / 2:
        axes.axhline(panel.red_above, color="tab:red", linewidth=0.8, linestyle="--")
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    axes.yaxis.set_major_formatter(FORMATS.get(panel.unit, OTHERS))
    unit = UNITS.get(panel.unit)
    axes.set_title(f"{panel.title}, {unit}" if unit else panel.title, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, alpha=0.25)
    if told:
        axes.legend(fontsize=6.5, ncols=2, framealpha=0.6, loc="upper left")


def answers(url: str, start: float, end: float, window: str) -> list[tuple[Panel, list[Series]]]:
    """What a Prometheus says to the panels that are drawn."""
    return [
        (panel, [series for query in panel.queries for series in ask(url, query, start, end, window)])
        for panel in drawn()
    ]


def main() -> None:
    """The last minutes of a Prometheus as a picture."""
    parser = argparse.ArgumentParser(description="Draw the dashboard's queries.")
    parser.add_argument("url", help="of a Prometheus, as http://127.0.0.1:9090")
    parser.add_argument("file", type=Path, help="the SVG to write")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--window", default="1m", help="for rates: at least four scrapes")
    options = parser.parse_args()
    end = time.time()
    found = answers(options.url, end - options.minutes * 60, end, options.window)
    options.file.write_text(plot(found))


if __name__ == "__main__":
    main()
