#!/usr/bin/env python3
"""Writes the Grafana dashboards beside it: `make dashboards`.

Grafana's JSON is long and says the same many times over, so what differs is written in a module for each dashboard,
and a test compares the files with what this writes.
"""

import json
from pathlib import Path

import models
import overview
import retrieval
import routing

FOLDER = Path(__file__).parent

DASHBOARDS = {"overview": overview, "routing": routing, "retrieval": retrieval, "models": models}

SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def target(letter, expression, legend, kind):
    made = {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expression,
        "legendFormat": legend,
        "range": True,
        "refId": letter,
    }
    if kind == "table":
        made |= {"format": "table", "instant": True, "range": False}
    if kind == "heatmap":
        made |= {"format": "heatmap"}
    return made


def defaults(spec):
    steps = [{"color": colour, "value": value or None} for value, colour in spec["marks"]] or [
        {"color": "green", "value": None}
    ]
    custom = {
        "drawStyle": "line",
        "fillOpacity": 20 if spec["stacked"] else 5,
        "lineWidth": 1,
        "showPoints": "never",
        "stacking": {"group": "A", "mode": "normal" if spec["stacked"] else "none"},
        "thresholdsStyle": {"mode": "line" if spec["marks"] else "off"},
    }
    made = {
        "color": {"mode": "palette-classic"},
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
        "unit": spec["unit"],
    }
    if spec["kind"] == "timeseries":
        made["custom"] = custom
    if spec["kind"] == "stat":
        made["color"] = {"mode": "thresholds"}
    return made


OPTIONS = {
    "timeseries": {
        "legend": {"calcs": ["mean", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "value",
    },
    "heatmap": {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
        "yAxis": {"unit": "percentunit"},
    },
    "table": {"showHeader": True},
}


def drawn(number, spec, x, y, height):
    made = {
        "id": number,
        "title": spec["title"],
        "type": spec["kind"],
        "datasource": SOURCE,
        "gridPos": {"h": height, "w": spec["width"], "x": x, "y": y},
        "fieldConfig": {"defaults": defaults(spec), "overrides": []},
        "options": OPTIONS[spec["kind"]],
        "targets": [target(chr(ord("A") + at), *query, spec["kind"]) for at, query in enumerate(spec["queries"])],
    }
    if spec["note"]:
        made["description"] = spec["note"]
    return made


def laid_out(rows):
    """All panels, each row of them under its title, from left to right."""
    height, number, y, made = 8, 1, 0, []
    for title, panels in rows:
        made.append(
            {
                "id": number,
                "title": title,
                "type": "row",
                "collapsed": False,
                "gridPos": {"h": 1, "w": 24, "x": 0, "y": y},
                "panels": [],
            }
        )
        number, y, x = number + 1, y + 1, 0
        for spec in panels:
            if x + spec["width"] > 24:
                x, y = 0, y + height
            made.append(drawn(number, spec, x, y, height))
            number, x = number + 1, x + spec["width"]
        y += height
    return made


def variable(name, label, kind, query, **more):
    return {"name": name, "label": label, "type": kind, "query": query, "hide": 0, **more}


def dashboard(uid, title, about, rows):
    """A dashboard as Grafana takes it from a file."""
    namespace = variable(
        "namespace",
        "Namespace",
        "query",
        {"query": "label_values(target_info, namespace)", "refId": "namespace"},
        datasource=SOURCE,
        includeAll=True,
        allValue=".*",
        multi=True,
        refresh=2,
        sort=1,
        current={"text": ["All"], "value": ["$__all"]},
    )
    others = {
        "type": "dashboards",
        "title": "Trivium",
        "tags": ["trivium"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }
    return {
        "uid": f"trivium-{uid}",
        "title": title,
        "description": about,
        "tags": ["trivium"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [others],
        "panels": laid_out(rows),
        "templating": {"list": [variable("datasource", "Data source", "datasource", "prometheus"), namespace]},
    }


def written():
    """The text of each file, by its name."""
    texts = {}
    for uid, board in DASHBOARDS.items():
        made = dashboard(uid, board.TITLE, board.__doc__, board.ROWS)
        texts[f"{uid}.json"] = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
    return texts


if __name__ == "__main__":
    for name, text in written().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
