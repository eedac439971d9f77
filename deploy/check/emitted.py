"""What the services emit, as Prometheus names it: read off the telemetry contract and the .proto files."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "service-kit" / "contract" / "telemetry.toml"

# What Prometheus puts beside the services' own labels when it scrapes them.
SCRAPED = ("namespace", "job", "instance", "pod", "service", "container", "endpoint")

GRPC_CODES = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
}

# Units as the exporter writes them behind a name; those in braces are annotations, and not written.
UNITS = {"s": "_seconds", "ms": "_milliseconds", "By": "_bytes", "1": "_ratio"}

# Series that others emit and that rules may use all the same, with their labels.
FOREIGN = {
    "kubelet_volume_stats_available_bytes": {"persistentvolumeclaim"},
    "kubelet_volume_stats_capacity_bytes": {"persistentvolumeclaim"},
}


@dataclass(frozen=True)
class Series:
    """A series that there is: its labels, each with all its values, or with None where the set is open."""

    labels: dict[str, frozenset[str] | None] = field(default_factory=dict)


def prometheus_name(name: str) -> str:
    """An OpenTelemetry name with what Prometheus allows."""
    return re.sub(r"[^a-zA-Z0-9_:]", "_", name)


def bound(value: float) -> str:
    """A bound of a bucket as the exporter writes it: never with an exponent."""
    return str(int(value)) if value == int(value) else repr(value)


def methods(protos: Path) -> set[str]:
    """The full names of all methods of the gRPC contract, and the one that stands for all others."""
    found = {"_OTHER"}
    for path in protos.rglob("*.proto"):
        text = path.read_text(encoding="utf-8")
        package = re.search(r"^package ([\w.]+);", text, re.MULTILINE)
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            found |= {
                f"{package[1]}.{service}/{method}" for method in re.findall(r"^\s*rpc (\w+)\(", body, re.MULTILINE)
            }
    return found


def emitted(contract: Path = CONTRACT, protos: Path = ROOT / "proto" / "trivium") -> dict[str, Series]:
    """Every series of every service, by name."""
    told = tomllib.loads(contract.read_text(encoding="utf-8"))
    open_sets = {"rpc.method": methods(protos), "rpc.response.status_code": GRPC_CODES}
    found = {}
    for name, metric in told["metrics"].items():
        labels = {"service_name": frozenset(f"trivium-{service}" for service in metric["services"])}
        for attribute, values in metric["attributes"].items():
            labels[prometheus_name(attribute)] = closed(
                values, told["attributes"].get(attribute, {}), open_sets.get(attribute)
            )
        labels |= dict.fromkeys(SCRAPED)
        base = prometheus_name(name) + UNITS.get(metric.get("unit", ""), "")
        match metric["kind"]:
            case "histogram":
                limits = frozenset([*map(bound, told["buckets"][metric["buckets"]]), "+Inf"])
                found |= {
                    base + "_sum": Series(labels),
                    base + "_count": Series(labels),
                    base + "_bucket": Series(labels | {"le": limits}),
                }
            case "counter":
                found[base + "_total"] = Series(labels)
            case _:
                found[base] = Series(labels)
    found["target_info"] = Series(
        dict.fromkeys(("service_name", "service_namespace", "service_version", "service_instance_id", *SCRAPED))
    )
    for name, own in FOREIGN.items():
        found[name] = Series(dict.fromkeys((*own, *SCRAPED)))
    return found


def closed(values, attribute, known):
    """All values of a label, if the contract lists them."""
    if isinstance(values, list):
        return frozenset(values)
    values = known or attribute.get("values")
    return frozenset(values) if values else None
