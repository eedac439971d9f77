"""Searches, their legs, freshness and size of collections."""

from panels import mean, newest, panel, quantile, quantiles, rate

TITLE = "Trivium: retrieval"

ROWS = [
    (
        "Searches",
        [
            panel(
                "Searches",
                "reqps",
                (
                    rate(
                        "rpc_server_call_duration_seconds_count",
                        'rpc_method="trivium.retriever.v1.RetrieverService/Search"',
                        "rpc_response_status_code",
                    ),
                    "{{rpc_response_status_code}}",
                ),
                stacked=True,
            ),
            quantiles(
                "Duration",
                "rpc_server_call_duration_seconds",
                'rpc_method="trivium.retriever.v1.RetrieverService/Search"',
            ),
            panel(
                "Legs, p95",
                "s",
                (quantile(0.95, "db_client_operation_duration_seconds", "", "db_system_name"), "{{db_system_name}}"),
                note="tantivy searches words, lance vectors.",
            ),
            panel(
                "Legs, p50",
                "s",
                (quantile(0.5, "db_client_operation_duration_seconds", "", "db_system_name"), "{{db_system_name}}"),
            ),
            panel(
                "Legs that failed",
                "reqps",
                (
                    rate("db_client_operation_duration_seconds_count", 'error_type!=""', "db_system_name, error_type"),
                    "{{db_system_name}} {{error_type}}",
                ),
            ),
            panel(
                "Other calls",
                "reqps",
                (
                    rate(
                        "rpc_server_call_duration_seconds_count",
                        'service_name="trivium-retriever", rpc_method!="trivium.retriever.v1.RetrieverService/Search"',
                        "rpc_method",
                    ),
                    "{{rpc_method}}",
                ),
            ),
        ],
    ),
    (
        "Freshness",
        [
            panel(
                "Snapshot lag",
                "s",
                (newest("trivium_retriever_snapshot_lag_seconds", "", "collection"), "{{collection}}"),
                note="How long the oldest write has waited that no search sees yet.",
                marks=((0, "green"), (60, "red")),
            ),
            panel(
                "Write queue",
                "none",
                (newest("trivium_retriever_write_queue_requests", "", "collection"), "{{collection}}"),
            ),
            quantiles("Commits", "trivium_retriever_commit_duration_seconds"),
            panel(
                "Commits by outcome",
                "ops",
                (rate("trivium_retriever_commit_duration_seconds_count", "", "outcome"), "{{outcome}}"),
            ),
            panel("Compaction", "s", (mean("trivium_retriever_compaction_duration_seconds"), "mean duration")),
            panel("Rows rewritten by compaction", "ops", (rate("trivium_retriever_compaction_rows_total"), "rows")),
        ],
    ),
    (
        "Size",
        [
            panel("Rows", "none", (newest("trivium_retriever_chunks", "", "collection"), "{{collection}}")),
            panel(
                "Rows whose vectors are not in memory",
                "none",
                (newest("trivium_retriever_unindexed_rows", "", "collection"), "{{collection}}"),
            ),
            panel("Fragments", "none", (newest("trivium_retriever_fragments", "", "collection"), "{{collection}}")),
        ],
    ),
]
