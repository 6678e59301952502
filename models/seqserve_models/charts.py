"""Charts of a report as SVG elements: no files, no display, and equal figures give equal text."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from seqserve_models.dataset import Values
from seqserve_models.progress import EpochReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that nobody draws with: the page's own take their place, which suit light and dark ground.
INK, FIRST, SECOND = "#010203", "#010204", "#010205"
PAGE_COLOURS = {INK: "currentColor", FIRST: "var(--first)", SECOND: "var(--second)"}
INCHES = (4.6, 2.9)
MAX_POINTS = 500
MAX_BINS = 40
LOG_FROM = 10  # where the largest loss is so many times the smallest, a linear axis hides the end
STYLE: Any = {  # matplotlib lists every key as a literal of its own
    "svg.fonttype": "none",  # text stays text, in the page's font
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
NO_METADATA: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Chart:
    """svg: an element for an HTML page. says: what it shows, for a caption and for who cannot see it."""

    svg: str
    says: str


def curves(history: Sequence[EpochReport]) -> tuple[Chart, ...]:
    """Loss over epochs, and the accuracy where there is one, of training and of what was held out."""
    epochs = [report.epoch for report in history]
    losses = np.array([(report.loss, report.test_loss) for report in history], np.float64)
    shares = [(report.accuracy, report.test_accuracy) for report in history]
    scale = "log" if 0 < LOG_FROM * losses.min() <= losses.max() else "linear"
    loss = Chart(_lines("loss", epochs, losses, scale), _last("Loss", losses, "{:.4g}"))
    if any(share is None for pair in shares for share in pair):
        return (loss,)
    rights = 100 * np.array(shares, np.float64)
    name = "right answers, %"
    return loss, Chart(_lines(name, epochs, rights, "linear"), _last("Right answers", rights, "{:.2f}%"))


def values(wanted: Values, came: Values) -> tuple[Chart, ...]:
    """Predicted against wanted values, any shape, and how the errors are distributed."""
    # FP32 would overflow where values of opposite sign are near its limit.
    x, y = wanted.ravel().astype(np.float64), came.ravel().astype(np.float64)
    picked = np.linspace(0, x.size - 1, min(MAX_POINTS, x.size), dtype=np.int64)
    shown = f"{len(picked):,} of {x.size:,} values" if len(picked) < x.size else f"{x.size:,} values"
    errors = y - x
    return (
        Chart(
            _scatter(x[picked], y[picked]),
            f"Predicted against wanted, {shown}. On the line the two are equal.",
        ),
        Chart(
            _histogram(errors, float(np.abs(x).max())),
            f"Errors: their mean is {errors.mean():.3g}, their standard deviation {errors.std():.3g}.",
        ),
    )


def _lines(name: str, epochs: list[int], pairs: npt.NDArray[np.float64], scale: str) -> str:
    """Two lines, pairs [epochs, 2]; a single epoch shows as points."""

    def draw(axes: Axes) -> None:
        marker = "o" if len(pairs) == 1 else ""
        axes.plot(epochs, pairs[:, 0], color=FIRST, marker=marker, label="training")
        axes.plot(epochs, pairs[:, 1], color=SECOND, marker=marker, linestyle="--", label="held out")
        axes.set(xlabel="epoch", ylabel=name, yscale=scale)
        if len(pairs) == 1:
            axes.set_xticks(epochs)  # a range of no width would be divided into fractions
        else:
            axes.locator_params("x", integer=True)
        axes.legend()

    return _svg(name, draw)


def _last(what: str, pairs: npt.NDArray[np.float64], form: str) -> str:
    training, held_out = (form.format(figure) for figure in pairs[-1])
    return f"{what}. After the last epoch: {training} in training, {held_out} held out."


def _scatter(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> str:
    def draw(axes: Axes) -> None:
        diagonal = [min(x.min(), y.min()), max(x.max(), y.max())]
        axes.plot(diagonal, diagonal, color=INK, linewidth=0.8, alpha=0.5)
        axes.scatter(x, y, s=12, color=FIRST, alpha=0.7, linewidths=0)
        axes.set(xlabel="wanted", ylabel="predicted")

    return _svg("values", draw)


def _histogram(errors: npt.NDArray[np.float64], largest_wanted: float) -> str:
    bins = min(MAX_BINS, 2 * round(errors.size ** (1 / 3)) + 1)
    # Errors that are all alike still need bins that floating point can tell apart.
    scale = max(largest_wanted, float(np.abs(errors).max()), 1e-9)
    margin = max(float(np.ptp(errors)), 1e-3 * scale) / bins
    ends = (float(errors.min()) - margin, float(errors.max()) + margin)

    def draw(axes: Axes) -> None:
        axes.hist(errors, bins=bins, range=ends, color=FIRST, rwidth=0.94)
        if ends[0] < 0 < ends[1]:
            axes.axvline(0, color=INK, linewidth=0.8, alpha=0.5)
        axes.set(xlabel="predicted \N{MINUS SIGN} wanted", ylabel="count")
        axes.locator_params("y", integer=True)
        axes.locator_params("x", nbins=6)  # long figures would run into each other

    return _svg("errors", draw)


def _svg(name: str, draw: Callable[[Axes], None]) -> str:
    """`name` sets its ids apart from those of the page's other charts."""
    import matplotlib as mpl  # noqa: PLC0415 - takes a second, and many commands do without
    from matplotlib.figure import Figure  # noqa: PLC0415 - pyplot would change global state

    target = io.StringIO()
    with mpl.rc_context():
        mpl.rcdefaults()  # a style of the user's own would change the bytes
        mpl.rcParams.update({**STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=INCHES, layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(target, format="svg", transparent=True, metadata=NO_METADATA)
    return _for_page(target.getvalue())


def _for_page(document: str) -> str:
    """The element alone; HTML needs no namespaces, and an id may be there only once in a page."""
    text = document[document.index("<svg") :].replace("xlink:href", "href")
    used = set(re.findall(r"#([\w-]+)[\")]", text))
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"|<style.*?</style>', "", text, flags=re.DOTALL)
    text = re.sub(r'\sid="([^"]*)"', lambda found: found[0] if found[1] in used else "", text)
    for drawn, shown in PAGE_COLOURS.items():
        text = text.replace(drawn, shown)
    return text
