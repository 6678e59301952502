"""Writes the dashboard as Grafana reads it: `python -m deploy.grafana.dashboard`, or `make dashboard`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from deploy.grafana.panel import Panel, Query
from deploy.grafana.panels import SECTIONS

FILE = Path(__file__).parent / "dashboards" / "seqserve.json"
COLUMNS = 24
HEIGHTS = {"timeseries": 8, "stat": 4, "table": 8, "state-timeline": 8}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
STATES = ("loading", "ready", "stalled", "unloading", "unloaded", "failed")
STATE_COLOURS = ("blue", "green", "orange", "yellow", "text", "red")

Json = dict[str, Any]


def dashboard() -> Json:
    """The whole document."""
    return {
        "uid": "seqserve",
        "title": "seqserve",
        "description": "A model-serving gateway: calls, batches, models, machines. See docs/monitoring.md.",
        "tags": ["seqserve"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(_variables())},
        "annotations": {"list": [_alerts()]},
        "links": [],
        "panels": list(_placed()),
    }


def _variables() -> Iterator[Json]:
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
    }
    yield _variable("instance", "Gateway", "label_values(seqserve_build_info, instance)")
    yield _variable("model", "Model", 'label_values(seqserve_requests_total{instance=~"$instance"}, model)')


def _variable(name: str, label: str, query: str) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def _alerts() -> Json:
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Seqserve.+", alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}} {{model}}",
        "step": "60s",
    }


def _placed() -> Iterator[Json]:
    """Rows and panels from left to right and from top to bottom, each with a number of its own."""
    numbers, top = count(1), 0
    for heading, section in SECTIONS.items():
        yield _row(next(numbers), heading, top)
        top, left, height = top + 1, 0, 0
        for panel in section:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": HEIGHTS[panel.kind]}
            yield _panel(next(numbers), panel, place)
            left, height = left + panel.width, max(height, HEIGHTS[panel.kind])
        top += height


def _row(number: int, heading: str, top: int) -> Json:
    place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": heading, "collapsed": False, "gridPos": place, "panels": []}


def _panel(number: int, panel: Panel, place: Json) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        "targets": [
            _target(panel, query, chr(ord("A") + index)) for index, query in enumerate(panel.queries)
        ],
        **({"transformations": _transformations()} if panel.kind == "table" else {}),
    }


def _target(panel: Panel, query: Query, letter: str) -> Json:
    is_instant = panel.kind == "table"
    return {
        "refId": letter,
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": is_instant,
        "range": not is_instant,
        "format": "table" if is_instant else "time_series",
    }


def _defaults(panel: Panel) -> Json:
    defaults: Json = {"unit": panel.unit, "color": {"mode": "palette-classic"}}
    if panel.kind == "state-timeline":
        return defaults | {"mappings": [_state_names()], "color": {"mode": "thresholds"}}
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.red_above is not None:
        steps.append({"color": "red", "value": panel.red_above})
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.kind == "stat":
        defaults["color"] = {"mode": "thresholds"}
    if panel.kind == "timeseries":
        defaults["min"] = 0
        defaults["custom"] = _lines(panel)
    return defaults


def _lines(panel: Panel) -> Json:
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.is_stacked else 0,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off" if panel.red_above is None else "dashed"},
    }


def _options(panel: Panel) -> Json:
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area", "colorMode": "value"}
    if panel.kind == "table":
        return {"showHeader": True}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    if panel.kind == "state-timeline":
        return {"legend": legend, "showValue": "auto", "mergeValues": True}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def _transformations() -> list[Json]:
    hidden = ("Time", "Value", "__name__", "job")
    return [{"id": "organize", "options": {"excludeByName": dict.fromkeys(hidden, True)}}]


def _state_names() -> Json:
    options = {
        str(number): {"text": state, "color": colour, "index": number}
        for number, (state, colour) in enumerate(zip(STATES, STATE_COLOURS, strict=True))
    }
    return {"type": "value", "options": options}


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
