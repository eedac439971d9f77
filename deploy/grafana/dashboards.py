#!/usr/bin/env python3
"""Writes the Grafana dashboards beside it: `make dashboards`.

Grafana's JSON is long and says the same many times over, so what differs is written here, one line a panel, and a
test compares the files with what this writes.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parent

# Calls whose callers wait for an answer.
QUERIES = 'service_name="trivium-router", rpc_method=~"trivium.router.v1.RouterService/(Query|QueryStream|Route)"'

# What every query is narrowed to. Where no namespace is set, "All" matches the empty one too.
HERE = 'namespace=~"$namespace"'


def rate(metric, labels="", by=""):
    """The rate a second of a counter, summed."""
    inside = ", ".join(filter(None, [HERE, labels]))
    return f"sum by ({by}) (rate({metric}{{{inside}}}[$__rate_interval]))"


def quantile(share, metric, labels="", by=""):
    """A quantile of a histogram."""
    inside = ", ".join(filter(None, [HERE, labels]))
    by = ", ".join(filter(None, ["le", by]))
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket{{{inside}}}[$__rate_interval])))"


def mean(metric, labels="", by=""):
    """The mean of what a histogram counted."""
    return f"{rate(metric + '_sum', labels, by)} / ({rate(metric + '_count', labels, by)} > 0)"


def share(metric, labels, of="", by=""):
    """Of all that a counter counted, the share with these labels."""
    return f"{rate(metric, ', '.join(filter(None, [of, labels])), by)} / ({rate(metric, of, by)} > 0)"


def newest(metric, labels="", by=""):
    """The greatest value of a gauge."""
    inside = ", ".join(filter(None, [HERE, labels]))
    return f"max by ({by}) ({metric}{{{inside}}})"


def panel(title, unit, *queries, kind="timeseries", width=8, stacked=False, note="", marks=()):
    """A panel. Each query is (expression, legend); `marks` are (value, colour), drawn from that value on."""
    return {"title": title, "unit": unit, "queries": queries, "kind": kind, "width": width, "stacked": stacked,
            "note": note, "marks": marks}


def quantiles(title, metric, labels="", width=8, note=""):
    """A panel with three quantiles of one histogram of seconds."""
    lines = [(quantile(share, metric, labels), name) for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))]
    return panel(title, "s", *lines, width=width, note=note)


OVERVIEW = [
    ("Objectives", [
        panel("Failed queries, 30 minutes", "percentunit", (f"trivium:query_errors:ratio_rate30m{{{HERE}}}", "{{namespace}}"),
              kind="stat", width=4, marks=((0, "green"), (0.001, "orange"), (0.006, "red")),
              note="The objective allows 0.1 % over 30 days."),
        panel("Slow hops, 30 minutes", "percentunit", (f"trivium:slow_hops:ratio_rate30m{{{HERE}}}", "{{namespace}}"),
              kind="stat", width=4, marks=((0, "green"), (0.01, "orange"), (0.06, "red")),
              note="Calls of Analyze and Search over 250 ms. The objective allows 1 % over 30 days."),
        panel("Queries", "reqps", (rate("rpc_server_call_duration_seconds_count", QUERIES), "queries"), kind="stat", width=4),
        panel("Burn of the budgets", "none",
              (f"trivium:query_errors:ratio_rate1h{{{HERE}}} / 0.001", "availability, 1 h"),
              (f"trivium:slow_hops:ratio_rate1h{{{HERE}}} / 0.01", "latency, 1 h"),
              (f"trivium:query_errors:ratio_rate3d{{{HERE}}} / 0.001", "availability, 3 d"),
              (f"trivium:slow_hops:ratio_rate3d{{{HERE}}} / 0.01", "latency, 3 d"), width=12,
              note="1 uses up just what 30 days allow; 14.4 over an hour wakes somebody up."),
    ]),
    ("Queries", [
        panel("Queries by method", "reqps", (rate("rpc_server_call_duration_seconds_count", QUERIES, "rpc_method"), "{{rpc_method}}"), stacked=True),
        panel("Errors by code", "reqps", (rate("rpc_server_call_duration_seconds_count", QUERIES + ', rpc_response_status_code!="OK"', "rpc_response_status_code"), "{{rpc_response_status_code}}"), stacked=True),
        quantiles("Duration", "rpc_server_call_duration_seconds", QUERIES, note="To the end of the answer, streams too."),
        panel("Degraded answers", "percentunit", (f"trivium:degraded:ratio_rate10m{{{HERE}}}", "{{part}}"), note="By the part that was left out."),
        quantiles("Time to the first word", "gen_ai_server_time_to_first_token_seconds"),
        panel("Cached answers", "percentunit",
              (share("trivium_cache_lookups_total", 'outcome="hit"', by="cache"), "{{cache}}")),
    ]),
    ("Hops", [
        panel("Hops, p95", "s", (quantile(0.95, "rpc_client_call_duration_seconds", "", "rpc_method"), "{{rpc_method}}")),
        panel("Hops that failed", "reqps", (rate("rpc_client_call_duration_seconds_count", 'rpc_response_status_code!="OK"', "rpc_method, rpc_response_status_code"), "{{rpc_method}} {{rpc_response_status_code}}")),
        panel("Retries", "reqps", (rate("trivium_client_retries_total", "", "rpc_method, outcome"), "{{rpc_method}} {{outcome}}")),
        panel("Circuit breakers", "none", (newest("trivium_client_breaker_open_ratio", "", "service_name, peer, class"), "{{service_name}} to {{peer}}, {{class}}"), note="1 while a service leaves another alone."),
        panel("Changes of circuit breakers", "ops", (rate("trivium_client_breaker_changes_total", "", "peer, state"), "{{peer}} {{state}}")),
        panel("Audit records lost", "ops", (rate("trivium_router_audit_lost_total", "", "instance"), "{{instance}}")),
    ]),
    ("Saturation", [
        panel("Calls in flight", "none", (f"sum by (service_name, instance) (trivium_server_in_flight{{{HERE}}})", "{{service_name}} {{instance}}"),
              (newest("trivium_server_limit", "", "service_name, instance"), "limit of {{instance}}"), width=12),
        panel("Refused", "percentunit", (f"trivium:refused:ratio_rate10m{{{HERE}}}", "{{service_name}}"), width=6, marks=((0, "green"), (0.01, "red"))),
        panel("Replicas", "none", (f"count by (service_name, service_version) (target_info{{{HERE}}})", "{{service_name}} {{service_version}}"), width=6),
    ]),
]

ROUTING = [
    ("Decisions", [
        panel("Roads", "reqps", (rate("trivium_router_decisions_total", "", "road"), "{{road}}"), stacked=True),
        panel("Reasons", "reqps", (rate("trivium_router_decisions_total", "", "reason"), "{{reason}}"), stacked=True),
        panel("Intents", "reqps", (rate("trivium_router_intents_total", "", "intent"), "{{intent}}"), stacked=True),
    ]),
    ("How sure", [
        panel("Confidence", "percentunit", *[(quantile(share, "trivium_router_confidence_ratio"), name) for share, name in ((0.1, "p10"), (0.25, "p25"), (0.5, "p50"))],
              note="Calibrated: of the decisions at 0.8, 8 in 10 are right."),
        panel("Confidence, against a week ago", "percentunit", (f"trivium:confidence:mean6h{{{HERE}}}", "now"), (f"trivium:confidence:mean6h{{{HERE}}} offset 1w", "a week ago")),
        panel("Unsure decisions", "percentunit", (f"trivium:unsure:ratio_rate6h{{{HERE}}}", "now"), (f"trivium:unsure:ratio_rate6h{{{HERE}}} offset 1w", "a week ago")),
        panel("Out of scope", "percentunit",
              (share("trivium_router_decisions_total", 'reason="out_of_scope"'), "out of scope"),
              (share("trivium_router_decisions_total", 'reason="low_confidence"'), "low confidence"),
              (share("trivium_router_decisions_total", 'reason="ambiguous"'), "ambiguous")),
        panel("Decisions by confidence", "none", (f"sum by (le) (increase(trivium_router_confidence_ratio_bucket{{{HERE}}}[$__rate_interval]))", "{{le}}"), kind="heatmap", width=16),
    ]),
    ("Answers", [
        panel("Duration by road, p50", "s", (quantile(0.5, "trivium_router_answer_duration_seconds", "", "road"), "{{road}}")),
        panel("Duration by road, p95", "s", (quantile(0.95, "trivium_router_answer_duration_seconds", "", "road"), "{{road}}")),
        panel("Outcomes", "reqps", (rate("trivium_router_answer_duration_seconds_count", "", "outcome"), "{{outcome}}"), stacked=True),
        panel("Left out, by part and reason", "reqps", (rate("trivium_router_degraded_total", "", "part, reason"), "{{part}}: {{reason}}"), width=24, stacked=True),
    ]),
]

RETRIEVAL = [
    ("Searches", [
        panel("Searches", "reqps", (rate("rpc_server_call_duration_seconds_count", 'rpc_method="trivium.retriever.v1.RetrieverService/Search"', "rpc_response_status_code"), "{{rpc_response_status_code}}"), stacked=True),
        quantiles("Duration", "rpc_server_call_duration_seconds", 'rpc_method="trivium.retriever.v1.RetrieverService/Search"'),
        panel("Legs, p95", "s", (quantile(0.95, "db_client_operation_duration_seconds", "", "db_system_name"), "{{db_system_name}}"), note="tantivy searches words, lance vectors."),
        panel("Legs, p50", "s", (quantile(0.5, "db_client_operation_duration_seconds", "", "db_system_name"), "{{db_system_name}}")),
        panel("Legs that failed", "reqps", (rate("db_client_operation_duration_seconds_count", 'error_type!=""', "db_system_name, error_type"), "{{db_system_name}} {{error_type}}")),
        panel("Other calls", "reqps", (rate("rpc_server_call_duration_seconds_count", 'service_name="trivium-retriever", rpc_method!="trivium.retriever.v1.RetrieverService/Search"', "rpc_method"), "{{rpc_method}}")),
    ]),
    ("Freshness", [
        panel("Snapshot lag", "s", (newest("trivium_retriever_snapshot_lag_seconds", "", "collection"), "{{collection}}"), note="How long the oldest write has waited that no search sees yet.", marks=((0, "green"), (60, "red"))),
        panel("Write queue", "none", (newest("trivium_retriever_write_queue_requests", "", "collection"), "{{collection}}")),
        quantiles("Commits", "trivium_retriever_commit_duration_seconds"),
        panel("Commits by outcome", "ops", (rate("trivium_retriever_commit_duration_seconds_count", "", "outcome"), "{{outcome}}")),
        panel("Compaction", "s", (mean("trivium_retriever_compaction_duration_seconds"), "mean duration")),
        panel("Rows rewritten by compaction", "ops", (rate("trivium_retriever_compaction_rows_total"), "rows")),
    ]),
    ("Size", [
        panel("Rows", "none", (newest("trivium_retriever_chunks", "", "collection"), "{{collection}}")),
        panel("Rows whose vectors are not in memory", "none", (newest("trivium_retriever_unindexed_rows", "", "collection"), "{{collection}}")),
        panel("Fragments", "none", (newest("trivium_retriever_fragments", "", "collection"), "{{collection}}")),
    ]),
]

MODELS = [
    ("Calls", [
        panel("Calls", "reqps", (rate("rpc_server_call_duration_seconds_count", 'service_name="trivium-model-host"', "rpc_method"), "{{rpc_method}}"), stacked=True),
        quantiles("Analyze", "rpc_server_call_duration_seconds", 'rpc_method="trivium.model.v1.ModelService/Analyze"'),
        panel("Remembered analyses", "percentunit", (share("trivium_cache_lookups_total", 'outcome="hit"', of='cache="analyses"'), "hits")),
    ]),
    ("Queue", [
        panel("Texts that wait", "none", (newest("trivium_model_queue_texts", "", "lane, instance"), "{{lane}} {{instance}}")),
        panel("Age of the oldest", "s", (newest("trivium_model_queue_age_seconds", "", "lane, instance"), "{{lane}} {{instance}}"), marks=((0, "green"), (1, "red"))),
        panel("Wait, p95", "s", (quantile(0.95, "trivium_model_queue_wait_seconds", "", "lane"), "{{lane}}")),
        panel("Texts by outcome", "ops", (rate("trivium_model_texts_total", "", "lane, outcome"), "{{lane}} {{outcome}}"), width=24),
    ]),
    ("Batches", [
        panel("Texts of a batch", "none", (mean("trivium_model_batch_texts", "", "lane"), "{{lane}}")),
        panel("Duration of a batch, p95", "s", (quantile(0.95, "trivium_model_batch_duration_seconds", "", "lane"), "{{lane}}")),
        panel("Tokens", "ops", (rate("trivium_model_tokens_total", "", "lane, kind"), "{{lane}} {{kind}}"), stacked=True, note="Padding is work for nothing."),
    ]),
    ("Generation", [
        panel("Duration, p95", "s", (quantile(0.95, "gen_ai_client_operation_duration_seconds", "", "gen_ai_operation_name, gen_ai_request_model"), "{{gen_ai_operation_name}} {{gen_ai_request_model}}")),
        panel("Time to the first word, p95", "s", (quantile(0.95, "gen_ai_server_time_to_first_token_seconds", "", "gen_ai_request_model"), "{{gen_ai_request_model}}")),
        panel("Tokens of answers", "ops", (rate("gen_ai_client_token_usage_sum", "", "gen_ai_token_type, gen_ai_request_model"), "{{gen_ai_request_model}} {{gen_ai_token_type}}")),
        panel("Failures", "ops", (rate("gen_ai_client_operation_duration_seconds_count", 'error_type!=""', "gen_ai_provider_name, error_type"), "{{gen_ai_provider_name}} {{error_type}}"), width=24),
    ]),
    ("Models", [
        panel("Versions in memory", "none", (newest("trivium_model_info_ratio", "", "instance, trivium_model_name, trivium_model_version, trivium_model_kind, state"), ""), kind="table", width=24),
    ]),
]

DASHBOARDS = {
    "overview": ("Trivium: overview", "Objectives, queries, hops and saturation of all services", OVERVIEW),
    "routing": ("Trivium: routing", "Which roads queries take, why, and how sure the intent model is", ROUTING),
    "retrieval": ("Trivium: retrieval", "Searches, their legs, freshness and size of collections", RETRIEVAL),
    "models": ("Trivium: models", "Queues, batches, tokens, generation and versions of models", MODELS),
}

SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def target(letter, expression, legend, kind):
    made = {"datasource": SOURCE, "editorMode": "code", "expr": expression, "legendFormat": legend, "range": True, "refId": letter}
    if kind == "table":
        made |= {"format": "table", "instant": True, "range": False}
    if kind == "heatmap":
        made |= {"format": "heatmap"}
    return made


def defaults(spec):
    steps = [{"color": colour, "value": value or None} for value, colour in spec["marks"]] or [{"color": "green", "value": None}]
    custom = {
        "drawStyle": "line", "fillOpacity": 20 if spec["stacked"] else 5, "lineWidth": 1, "showPoints": "never",
        "stacking": {"group": "A", "mode": "normal" if spec["stacked"] else "none"},
        "thresholdsStyle": {"mode": "line" if spec["marks"] else "off"},
    }
    made = {"color": {"mode": "palette-classic"}, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}, "unit": spec["unit"]}
    if spec["kind"] == "timeseries":
        made["custom"] = custom
    if spec["kind"] == "stat":
        made["color"] = {"mode": "thresholds"}
    return made


OPTIONS = {
    "timeseries": {"legend": {"calcs": ["mean", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": "value"},
    "heatmap": {"calculate": False, "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64}, "yAxis": {"unit": "percentunit"}},
    "table": {"showHeader": True},
}


def drawn(number, spec, x, y, height):
    made = {
        "id": number, "title": spec["title"], "type": spec["kind"], "datasource": SOURCE,
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
        made.append({"id": number, "title": title, "type": "row", "collapsed": False, "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}, "panels": []})
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
    namespace = variable("namespace", "Namespace", "query", {"query": "label_values(target_info, namespace)", "refId": "namespace"},
                         datasource=SOURCE, includeAll=True, allValue=".*", multi=True, refresh=2, sort=1,
                         current={"text": ["All"], "value": ["$__all"]})
    others = {"type": "dashboards", "title": "Trivium", "tags": ["trivium"], "asDropdown": True, "includeVars": True, "keepTime": True}
    return {
        "uid": f"trivium-{uid}", "title": title, "description": about, "tags": ["trivium"], "schemaVersion": 39,
        "editable": False, "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-3h", "to": "now"},
        "links": [others], "panels": laid_out(rows),
        "templating": {"list": [variable("datasource", "Data source", "datasource", "prometheus"), namespace]},
    }


def written():
    """The text of each file, by its name."""
    texts = {}
    for uid, (title, about, rows) in DASHBOARDS.items():
        texts[f"{uid}.json"] = json.dumps(dashboard(uid, title, about, rows), indent=1, ensure_ascii=False) + "\n"
    return texts


if __name__ == "__main__":
    for name, text in written().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
