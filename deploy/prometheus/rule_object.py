#!/usr/bin/env python3
"""Writes rules/*.yml as an object of the Prometheus operator: `make alerts`."""

from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
TARGET = FOLDER / "prometheus-rule.yaml"
HEAD = "# Written by `make alerts` from rules/*.yml.\n"


def written() -> str:
    """The text of the object."""
    groups = []
    for path in sorted((FOLDER / "rules").glob("*.yml"), key=lambda path: path.name != "recording.yml"):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            kind = path.stem if path.stem == "recording" else "alerts"
            groups.append({**group, "name": f"{group['name']}-{kind}"})
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "trivium", "labels": {"app.kubernetes.io/part-of": "trivium"}},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.safe_dump(rule, sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    TARGET.write_text(written(), encoding="utf-8")
