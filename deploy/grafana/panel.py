"""A panel of the dashboard: its queries, its unit and what to look for; and the queries that many have.

`$instance` and `$model` are the dashboard's variables; `$__rate_interval` is Grafana's,
at least four scrapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["timeseries", "stat", "table", "state-timeline"]

GATEWAY = 'instance=~"$instance"'
MODEL = f'{GATEWAY}, model=~"$model"'
STEP = "[$__rate_interval]"
FAILED = 'code=~"UNAVAILABLE|INTERNAL|UNKNOWN|DATA_LOSS|DEADLINE_EXCEEDED"'
COUNTED = 'code=~"OK|UNAVAILABLE|INTERNAL|UNKNOWN|DATA_LOSS|DEADLINE_EXCEEDED"'
"""What the promise is about: not the callers' mistakes, which would thin failures out, and not refusals."""


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and the name of each of its series, with `{{label}}` for values of labels."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. unit: as Grafana calls it. width: of 24. red_above: values that are drawn as bad.

    is_stacked: whether its series add up to something. is_drawn: whether plot.py draws it.
    """

    title: str
    unit: str
    description: str
    queries: tuple[Query, ...]
    width: int = 8
    kind: Kind = "timeseries"
    is_stacked: bool = False
    red_above: float | None = None
    is_drawn: bool = False


def rate(metric: str, by: str, matchers: str = MODEL) -> str:
    """How fast counters grow, summed over all labels but some."""
    return f"sum by ({by}) (rate({metric}{{{matchers}}}{STEP}))"


def quantile(share: float, metric: str, matchers: str = MODEL, by: str = "") -> str:
    """Of a histogram, over all gateways and models that are chosen."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{matchers}}}{STEP})))"


def mean(metric: str, by: str, matchers: str = MODEL) -> str:
    """Of what a histogram has observed."""
    return f"{rate(metric + '_sum', by, matchers)} / {rate(metric + '_count', by, matchers)}"


def filled(expr: str, window: str) -> str:
    """An expression as Grafana sends it, for all gateways and models. window: `$__rate_interval`."""
    return expr.replace("$instance", ".*").replace("$model", ".*").replace("$__rate_interval", window)
