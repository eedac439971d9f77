"""Objectives, queries, hops and saturation of all services."""

from panels import HERE, QUERIES, newest, panel, quantile, quantiles, rate, share

TITLE = "Trivium: overview"

ROWS = [
    (
        "Objectives",
        [
            panel(
                "Failed queries, 30 minutes",
                "percentunit",
                (f"trivium:query_errors:ratio_rate30m{{{HERE}}}", "{{namespace}}"),
                kind="stat",
                width=4,
                marks=((0, "green"), (0.001, "orange"), (0.006, "red")),
                note="The objective allows 0.1 % over 30 days.",
            ),
            panel(
                "Slow hops, 30 minutes",
                "percentunit",
                (f"trivium:slow_hops:ratio_rate30m{{{HERE}}}", "{{namespace}}"),
                kind="stat",
                width=4,
                marks=((0, "green"), (0.01, "orange"), (0.06, "red")),
                note="Calls of Analyze and Search over 250 ms. The objective allows 1 % over 30 days.",
            ),
            panel(
                "Queries",
                "reqps",
                (rate("rpc_server_call_duration_seconds_count", QUERIES), "queries"),
                kind="stat",
                width=4,
            ),
            panel(
                "Burn of the budgets",
                "none",
                (f"trivium:query_errors:ratio_rate1h{{{HERE}}} / 0.001", "availability, 1 h"),
                (f"trivium:slow_hops:ratio_rate1h{{{HERE}}} / 0.01", "latency, 1 h"),
                (f"trivium:query_errors:ratio_rate3d{{{HERE}}} / 0.001", "availability, 3 d"),
                (f"trivium:slow_hops:ratio_rate3d{{{HERE}}} / 0.01", "latency, 3 d"),
                width=12,
                note="1 uses up just what 30 days allow; 14.4 over an hour wakes somebody up.",
            ),
        ],
    ),
    (
        "Queries",
        [
            panel(
                "Queries by method",
                "reqps",
                (rate("rpc_server_call_duration_seconds_count", QUERIES, "rpc_method"), "{{rpc_method}}"),
                stacked=True,
            ),
            panel(
                "Errors by code",
                "reqps",
                (
                    rate(
                        "rpc_server_call_duration_seconds_count",
                        QUERIES + ', rpc_response_status_code!="OK"',
                        "rpc_response_status_code",
                    ),
                    "{{rpc_response_status_code}}",
                ),
                stacked=True,
            ),
            quantiles(
                "Duration", "rpc_server_call_duration_seconds", QUERIES, note="To the end of the answer, streams too."
            ),
            panel(
                "Degraded answers",
                "percentunit",
                (f"trivium:degraded:ratio_rate10m{{{HERE}}}", "{{part}}"),
                note="By the part that was left out.",
            ),
            quantiles("Time to the first word", "gen_ai_server_time_to_first_token_seconds"),
            panel(
                "Cached answers",
                "percentunit",
                (share("trivium_cache_lookups_total", 'outcome="hit"', by="cache"), "{{cache}}"),
            ),
        ],
    ),
    (
        "Hops",
        [
            panel(
                "Hops, p95",
                "s",
                (quantile(0.95, "rpc_client_call_duration_seconds", "", "rpc_method"), "{{rpc_method}}"),
            ),
            panel(
                "Hops that failed",
                "reqps",
                (
                    rate(
                        "rpc_client_call_duration_seconds_count",
                        'rpc_response_status_code!="OK"',
                        "rpc_method, rpc_response_status_code",
                    ),
                    "{{rpc_method}} {{rpc_response_status_code}}",
                ),
            ),
            panel(
                "Retries",
                "reqps",
                (rate("trivium_client_retries_total", "", "rpc_method, outcome"), "{{rpc_method}} {{outcome}}"),
            ),
            panel(
                "Circuit breakers",
                "none",
                (
                    newest("trivium_client_breaker_open_ratio", "", "service_name, peer, class"),
                    "{{service_name}} to {{peer}}, {{class}}",
                ),
                note="1 while a service leaves another alone.",
            ),
            panel(
                "Changes of circuit breakers",
                "ops",
                (rate("trivium_client_breaker_changes_total", "", "peer, state"), "{{peer}} {{state}}"),
            ),
            panel(
                "Audit records lost", "ops", (rate("trivium_router_audit_lost_total", "", "instance"), "{{instance}}")
            ),
        ],
    ),
    (
        "Saturation",
        [
            panel(
                "Calls in flight",
                "none",
                (
                    f"sum by (service_name, instance) (trivium_server_in_flight{{{HERE}}})",
                    "{{service_name}} {{instance}}",
                ),
                (newest("trivium_server_limit", "", "service_name, instance"), "limit of {{instance}}"),
                width=12,
            ),
            panel(
                "Refused",
                "percentunit",
                (f"trivium:refused:ratio_rate10m{{{HERE}}}", "{{service_name}}"),
                width=6,
                marks=((0, "green"), (0.01, "red")),
            ),
            panel(
                "Replicas",
                "none",
                (
                    f"count by (service_name, service_version) (target_info{{{HERE}}})",
                    "{{service_name}} {{service_version}}",
                ),
                width=6,
            ),
        ],
    ),
]
