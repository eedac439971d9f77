"""Which roads queries take, why, and how sure the intent model is."""

from panels import HERE, panel, quantile, rate, share

TITLE = "Trivium: routing"

ROWS = [
    (
        "Decisions",
        [
            panel("Roads", "reqps", (rate("trivium_router_decisions_total", "", "road"), "{{road}}"), stacked=True),
            panel(
                "Reasons", "reqps", (rate("trivium_router_decisions_total", "", "reason"), "{{reason}}"), stacked=True
            ),
            panel("Intents", "reqps", (rate("trivium_router_intents_total", "", "intent"), "{{intent}}"), stacked=True),
        ],
    ),
    (
        "How sure",
        [
            panel(
                "Confidence",
                "percentunit",
                *[
                    (quantile(share, "trivium_router_confidence_ratio"), name)
                    for share, name in ((0.1, "p10"), (0.25, "p25"), (0.5, "p50"))
                ],
                note="Calibrated: of the decisions at 0.8, 8 in 10 are right.",
            ),
            panel(
                "Confidence, against a week ago",
                "percentunit",
                (f"trivium:confidence:mean6h{{{HERE}}}", "now"),
                (f"trivium:confidence:mean6h{{{HERE}}} offset 1w", "a week ago"),
            ),
            panel(
                "Unsure decisions",
                "percentunit",
                (f"trivium:unsure:ratio_rate6h{{{HERE}}}", "now"),
                (f"trivium:unsure:ratio_rate6h{{{HERE}}} offset 1w", "a week ago"),
            ),
            panel(
                "Out of scope",
                "percentunit",
                (share("trivium_router_decisions_total", 'reason="out_of_scope"'), "out of scope"),
                (share("trivium_router_decisions_total", 'reason="low_confidence"'), "low confidence"),
                (share("trivium_router_decisions_total", 'reason="ambiguous"'), "ambiguous"),
            ),
            panel(
                "Decisions by confidence",
                "none",
                (
                    f"sum by (le) (increase(trivium_router_confidence_ratio_bucket{{{HERE}}}[$__rate_interval]))",
                    "{{le}}",
                ),
                kind="heatmap",
                width=16,
            ),
        ],
    ),
    (
        "Answers",
        [
            panel(
                "Duration by road, p50",
                "s",
                (quantile(0.5, "trivium_router_answer_duration_seconds", "", "road"), "{{road}}"),
            ),
            panel(
                "Duration by road, p95",
                "s",
                (quantile(0.95, "trivium_router_answer_duration_seconds", "", "road"), "{{road}}"),
            ),
            panel(
                "Outcomes",
                "reqps",
                (rate("trivium_router_answer_duration_seconds_count", "", "outcome"), "{{outcome}}"),
                stacked=True,
            ),
            panel(
                "Left out, by part and reason",
                "reqps",
                (rate("trivium_router_degraded_total", "", "part, reason"), "{{part}}: {{reason}}"),
                width=24,
                stacked=True,
            ),
        ],
    ),
]
