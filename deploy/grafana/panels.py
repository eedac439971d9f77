"""What panels are made of: queries over the contract's metrics, and the few kinds of panels that there are."""

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
    """Of all that a counter counted, the share with these labels; 0 where there were none yet."""
    part, whole = rate(metric, ", ".join(filter(None, [of, labels])), by), rate(metric, of, by)
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def newest(metric, labels="", by=""):
    """The greatest value of a gauge."""
    inside = ", ".join(filter(None, [HERE, labels]))
    return f"max by ({by}) ({metric}{{{inside}}})"


def panel(title, unit, *queries, kind="timeseries", width=8, stacked=False, note="", marks=()):
    """A panel. Each query is (expression, legend); `marks` are (value, colour), drawn from that value on."""
    return {
        "title": title,
        "unit": unit,
        "queries": queries,
        "kind": kind,
        "width": width,
        "stacked": stacked,
        "note": note,
        "marks": marks,
    }


def quantiles(title, metric, labels="", width=8, note=""):
    """A panel with three quantiles of one histogram of seconds."""
    lines = [(quantile(share, metric, labels), name) for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))]
    return panel(title, "s", *lines, width=width, note=note)
