"""Queues, batches, tokens, generation and versions of models."""

from panels import mean, newest, panel, quantile, quantiles, rate, share

TITLE = "Trivium: models"

ROWS = [
    (
        "Calls",
        [
            panel(
                "Calls",
                "reqps",
                (
                    rate("rpc_server_call_duration_seconds_count", 'service_name="trivium-model-host"', "rpc_method"),
                    "{{rpc_method}}",
                ),
                stacked=True,
            ),
            quantiles(
                "Analyze", "rpc_server_call_duration_seconds", 'rpc_method="trivium.model.v1.ModelService/Analyze"'
            ),
            panel(
                "Remembered analyses",
                "percentunit",
                (share("trivium_cache_lookups_total", 'outcome="hit"', of='cache="analyses"'), "hits"),
            ),
        ],
    ),
    (
        "Queue",
        [
            panel(
                "Texts that wait",
                "none",
                (newest("trivium_model_queue_texts", "", "lane, instance"), "{{lane}} {{instance}}"),
            ),
            panel(
                "Age of the oldest",
                "s",
                (newest("trivium_model_queue_age_seconds", "", "lane, instance"), "{{lane}} {{instance}}"),
                marks=((0, "green"), (1, "red")),
            ),
            panel("Wait, p95", "s", (quantile(0.95, "trivium_model_queue_wait_seconds", "", "lane"), "{{lane}}")),
            panel(
                "Texts by outcome",
                "ops",
                (rate("trivium_model_texts_total", "", "lane, outcome"), "{{lane}} {{outcome}}"),
                width=24,
            ),
        ],
    ),
    (
        "Batches",
        [
            panel("Texts of a batch", "none", (mean("trivium_model_batch_texts", "", "lane"), "{{lane}}")),
            panel(
                "Duration of a batch, p95",
                "s",
                (quantile(0.95, "trivium_model_batch_duration_seconds", "", "lane"), "{{lane}}"),
            ),
            panel(
                "Tokens",
                "ops",
                (rate("trivium_model_tokens_total", "", "lane, kind"), "{{lane}} {{kind}}"),
                stacked=True,
                note="Padding is work for nothing.",
            ),
        ],
    ),
    (
        "Generation",
        [
            panel(
                "Duration, p95",
                "s",
                (
                    quantile(
                        0.95,
                        "gen_ai_client_operation_duration_seconds",
                        "",
                        "gen_ai_operation_name, gen_ai_request_model",
                    ),
                    "{{gen_ai_operation_name}} {{gen_ai_request_model}}",
                ),
            ),
            panel(
                "Time to the first word, p95",
                "s",
                (
                    quantile(0.95, "gen_ai_server_time_to_first_token_seconds", "", "gen_ai_request_model"),
                    "{{gen_ai_request_model}}",
                ),
            ),
            panel(
                "Tokens of answers",
                "ops",
                (
                    rate("gen_ai_client_token_usage_sum", "", "gen_ai_token_type, gen_ai_request_model"),
                    "{{gen_ai_request_model}} {{gen_ai_token_type}}",
                ),
            ),
            panel(
                "Failures",
                "ops",
                (
                    rate(
                        "gen_ai_client_operation_duration_seconds_count",
                        'error_type!=""',
                        "gen_ai_provider_name, error_type",
                    ),
                    "{{gen_ai_provider_name}} {{error_type}}",
                ),
                width=24,
            ),
        ],
    ),
    (
        "Models",
        [
            panel(
                "Versions in memory",
                "none",
                (
                    newest(
                        "trivium_model_info_ratio",
                        "",
                        "instance, trivium_model_name, trivium_model_version, trivium_model_kind, state",
                    ),
                    "",
                ),
                kind="table",
                width=24,
            ),
        ],
    ),
]
