"""Charts of a report as SVG text: no files, no display, and equal figures give equal text."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqserve_models.dataset import Values
from seqserve_models.progress import EpochReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Replaced by the page's own colour of text, so that a chart is legible on light and on dark ground.
INK = "#010203"
# Blue and orange of Okabe and Ito's palette, which colour-blind readers tell apart.
TRAINING, HELD_OUT = "#0072b2", "#e69f00"
PANEL_INCHES = (4.2, 2.9)
MAX_POINTS = 500
BINS = 30
STYLE: Any = {  # matplotlib lists every key as a literal of its own
    "svg.fonttype": "none",  # text stays text, in the page's font
    "svg.hashsalt": "seqserve",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def curves(history: Sequence[EpochReport]) -> str:
    """Loss over epochs, and the accuracy where there is one, of training and of what was held out."""
    losses = [(report.loss, report.test_loss) for report in history]
    rights = [(one.accuracy, one.test_accuracy) for one in history if one.accuracy is not None]

    def draw(panels: list[Axes]) -> None:
        _lines(panels[0], np.array(losses))
        panels[0].set(xlabel="epoch", ylabel="loss", yscale="log" if np.min(losses) > 0 else "linear")
        for accuracy in panels[1:]:
            _lines(accuracy, 100 * np.array(rights, np.float64))
            accuracy.set(xlabel="epoch", ylabel="right answers, %")

    return _svg(draw, panels=2 if rights else 1)


def values(wanted: Values, came: Values) -> str:
    """Predicted against wanted values, any shape, and how the errors are distributed."""
    errors = (came - wanted).ravel()
    # Errors that are all alike still need a bin of some width.
    margin = max(float(np.ptp(errors)), 1e-3 * float(np.abs(wanted).max()), 1e-9) / BINS
    picked = np.linspace(0, wanted.size - 1, min(MAX_POINTS, wanted.size), dtype=np.int64)
    x, y = wanted.ravel()[picked], came.ravel()[picked]

    def draw(panels: list[Axes]) -> None:
        diagonal = [min(x.min(), y.min()), max(x.max(), y.max())]
        panels[0].plot(diagonal, diagonal, color=INK, linewidth=0.8, alpha=0.5)
        panels[0].scatter(x, y, s=10, color=TRAINING, alpha=0.7)
        panels[0].set(xlabel="wanted", ylabel="predicted")
        ends = (float(errors.min()) - margin, float(errors.max()) + margin)
        panels[1].hist(errors, bins=BINS, range=ends, color=TRAINING)
        panels[1].set(xlabel="predicted - wanted", ylabel="examples")

    return _svg(draw, panels=2)


def _lines(axes: Axes, pairs: np.ndarray) -> None:
    """Two lines, pairs [epochs, 2]; a single epoch shows as points."""
    epochs = np.arange(1, len(pairs) + 1)
    marker = "o" if len(pairs) == 1 else ""
    axes.plot(epochs, pairs[:, 0], color=TRAINING, marker=marker, label="training")
    axes.plot(epochs, pairs[:, 1], color=HELD_OUT, marker=marker, linestyle="--", label="held out")
    axes.locator_params("x", integer=True)
    axes.legend()


def _svg(draw: Callable[[list[Axes]], None], *, panels: int) -> str:
    import matplotlib as mpl  # noqa: PLC0415 - takes a second, and many commands do without
    from matplotlib.figure import Figure  # noqa: PLC0415 - pyplot would change global state

    target = io.StringIO()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PANEL_INCHES[0] * panels, PANEL_INCHES[1]), layout="constrained")
        draw([figure.add_subplot(1, panels, number + 1) for number in range(panels)])
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    text = target.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
