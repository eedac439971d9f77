"""Checks that every query of a dashboard, a rule or a runbook names series and labels that there are.

python queries.py            checks all of them, and says how many there were
python queries.py FILE       checks a scrape of a running service as well: each series in it must be in the contract
"""

import itertools
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as promql
import yaml

from emitted import ROOT, Series, emitted

GRAFANA = ROOT / "deploy" / "grafana"
RULES = ROOT / "deploy" / "prometheus" / "rules"
RUNBOOKS = ROOT / "docs" / "runbooks"

# What Grafana puts in the place of its own variables, as far as a parser must know.
VARIABLES = {"$__rate_interval": "5m", "$namespace": ".*"}


@dataclass(frozen=True)
class Query:
    """A query, and where it stands."""

    where: str
    text: str
    record: str | None = None


class Wrong(Exception):
    """What is wrong with a query."""


def of_rules() -> Iterator[Query]:
    """Rules in the order in which they may use each other."""
    for path in sorted(RULES.glob("*.yml"), key=lambda path: path.name != "recording.yml"):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                name = rule.get("record") or rule["alert"]
                yield Query(f"{path.name}: {name}", rule["expr"], rule.get("record"))


def of_dashboards() -> Iterator[Query]:
    """The queries of all panels."""
    for path in sorted(GRAFANA.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", []):
                yield Query(f"{path.name}: {panel['title']}", target["expr"])


def of_runbooks() -> Iterator[Query]:
    """The queries that runbooks tell people to make."""
    for path in sorted(RUNBOOKS.glob("*.md")):
        for text in re.findall(r"^```promql\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            yield Query(path.name, text)


def all_queries() -> list[Query]:
    """Rules first, since they record what the others may use."""
    return [*of_rules(), *of_dashboards(), *of_runbooks()]


def check(queries: list[Query], known: dict[str, Series]) -> list[str]:
    """What is wrong, a line each. What rules record is known to the queries after them."""
    known, faults = dict(known), []
    for query in queries:
        text = query.text
        for variable, value in VARIABLES.items():
            text = text.replace(variable, value)
        try:
            labels = labels_of(promql.parse(text), known)
        except (ValueError, Wrong) as error:
            faults.append(f"{query.where}: {error}")
            labels = {}
        if query.record:
            known[query.record] = Series(labels)
    return faults


def labels_of(expression, known: dict[str, Series]) -> dict:
    """The labels that a query's result has. Raises `Wrong` for a series or label that there is not."""
    match expression:
        case promql.VectorSelector():
            return selected(expression, known)
        case promql.MatrixSelector():
            return selected(expression.vector_selector, known)
        case promql.AggregateExpr():
            return aggregated(expression, known)
        case promql.BinaryExpr():
            left, right = labels_of(expression.lhs, known), labels_of(expression.rhs, known)
            matching = getattr(expression.modifier, "matching", None)
            for side in (left, right):
                if matching and side:
                    there(matching.labels, side, "on")
            return left or right
        case promql.Call():
            results = [labels_of(argument, known) for argument in expression.args]
            labels = next((labels for labels in results if labels), {})
            if expression.func.name == "histogram_quantile":
                there(["le"], labels, "histogram_quantile")
                labels = {name: values for name, values in labels.items() if name != "le"}
            return labels
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return labels_of(expression.expr, known)
        case _:
            return {}


def aggregated(expression, known):
    inner, modifier = labels_of(expression.expr, known), expression.modifier
    if modifier is None:
        return {}
    there(modifier.labels, inner, str(expression.op))
    kept = modifier.type == promql.AggModifierType.By
    return {name: values for name, values in inner.items() if (name in modifier.labels) == kept}


def there(names, labels, what):
    for name in names:
        if name not in labels:
            raise Wrong(f"{what} names the label {name}, which there is not")


def selected(selector, known):
    if selector.name not in known:
        raise Wrong(f"no service emits {selector.name}")
    labels = known[selector.name].labels
    for matcher in selector.matchers.matchers:
        if matcher.name not in labels:
            raise Wrong(f"{selector.name} has no label {matcher.name}")
        values = labels[matcher.name]
        if values is None or matcher.value == "":
            continue
        is_pattern = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
        for wanted in alternatives(matcher.value) if is_pattern else [re.escape(matcher.value)]:
            if not any(re.fullmatch(wanted, value) for value in values):
                raise Wrong(f"{matcher.name} of {selector.name} is never {wanted}")
    return labels


def alternatives(pattern: str) -> list[str]:
    """What a pattern of the kind `a(b|c)|d` stands for: `ab`, `ac`, `d`."""
    parts = re.split(r"(\([^()]*\))", pattern)
    if len(parts) == 1:
        return pattern.split("|")
    choices = [part.strip("()").split("|") if part.startswith("(") else [part] for part in parts]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def check_scrape(text: str, known: dict[str, Series]) -> list[str]:
    """What a running service emits, and the contract does not have."""
    faults = set()
    for name, labels in re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ", text, re.MULTILINE):
        if name not in known:
            faults.add(f"{name} is not in the contract")
            continue
        for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels):
            values = known[name].labels.get(label, frozenset())
            if (
                values is not None
                and value not in values
                and not (name == "target_info" and label.startswith("telemetry_"))
            ):
                faults.add(f'{name}{{{label}="{value}"}} is not in the contract')
    return sorted(faults)


def main() -> int:
    known, queries = emitted(), all_queries()
    faults = check(queries, known)
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as scrape:
            faults += [f"{path}: {fault}" for fault in check_scrape(scrape.read(), known)]
    print("\n".join(faults) or f"{len(queries)} queries name only what {len(known)} series of the contract have")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
