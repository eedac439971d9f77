"""Renders the overlays, and checks what comes out.

Strictly by the schemas of several versions of Kubernetes, and for what no schema knows, such as whether a pod has the
time to drain that its configuration promises.

    python manifests.py          checks every overlay
"""

import json
import subprocess
import sys
import tomllib

import jsonschema
import kubernetes_validate
import yaml

from emitted import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("local", "production", "production-mtls")

# The oldest knows pauses before a stop; the newest is the newest that there are schemas for.
VERSIONS = ("1.30.0", "1.33.0", "1.35.0", "1.37.0")

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

# What the last export of telemetry may take once all calls have ended, in seconds.
EXPORT_S = 10


def rendered(overlay: str) -> list[dict]:
    """The objects of an overlay."""
    made = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES / "overlays" / overlay], check=True, capture_output=True, text=True
    )
    return [thing for thing in yaml.safe_load_all(made.stdout) if thing]


def called(thing: dict) -> str:
    """An object's kind and name."""
    return f"{thing['kind']}/{thing['metadata']['name']}"


def check_schemas(things: list[dict], version: str) -> list[str]:
    """What one version of Kubernetes, or the schema of a custom resource, would refuse."""
    faults = []
    for thing in things:
        own = KUBERNETES / "schemas" / f"{thing['kind'].lower()}-{thing['apiVersion'].split('/')[-1]}.json"
        try:
            if own.exists():
                jsonschema.Draft202012Validator(json.loads(own.read_text(encoding="utf-8"))).validate(thing)
            else:
                kubernetes_validate.validate(thing, version, strict=True)
        except jsonschema.ValidationError as error:
            faults.append(
                f"{version}: {called(thing)}: {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
            )
        except kubernetes_validate.SchemaNotFoundError as error:
            faults.append(f"{version}: {called(thing)}: {error.message}")
    return faults


def workloads(things):
    """Everything that makes pods."""
    return [thing for thing in things if thing["kind"] in ("Deployment", "StatefulSet")]


def check_pods(things: list[dict]) -> list[str]:
    """Pods without a user, a probe, a bound or the time to drain."""
    accounts = {thing["metadata"]["name"]: thing for thing in things if thing["kind"] == "ServiceAccount"}
    return [
        f"{called(thing)}: {fault}"
        for thing in workloads(things)
        for holds, fault in demands_on_pod(thing, accounts)
        if not holds
    ]


def demands_on_pod(thing, accounts):
    """What must hold of a pod, each with what is wrong where it does not."""
    pod = thing["spec"]["template"]["spec"]
    account = accounts.get(pod.get("serviceAccountName"), {})
    security = pod.get("securityContext", {})
    yield (
        account.get("automountServiceAccountToken") is False,
        "its service account mounts a token, or is none of these",
    )
    yield pod.get("automountServiceAccountToken") is False, "it mounts a token"
    yield pod.get("enableServiceLinks") is False, "variables of services come into it"
    yield security.get("runAsNonRoot") and security.get("runAsUser", 0) > 0, "it may run as root"
    yield security.get("seccompProfile", {}).get("type") == "RuntimeDefault", "it has no seccomp profile"
    for probe in PROBES:
        yield "grpc" in pod["containers"][0].get(probe, {}), f"it has no {probe} by gRPC"
    yield pod.get("topologySpreadConstraints") or thing["spec"].get("replicas") == 1, "its replicas may share a node"
    for container in pod["containers"] + pod.get("initContainers", []):
        yield from demands_on_container(container)


def demands_on_container(container):
    """What must hold of a container, in the same form."""
    name, security, resources = container["name"], container.get("securityContext", {}), container.get("resources", {})
    yield security.get("readOnlyRootFilesystem") is True, f"{name} can write its root"
    yield security.get("allowPrivilegeEscalation") is False, f"{name} can gain privileges"
    yield security.get("capabilities", {}).get("drop") == ["ALL"], f"{name} keeps capabilities"
    yield {"cpu", "memory"} <= set(resources.get("requests", {})), f"{name} requests nothing"
    yield "memory" in resources.get("limits", {}), f"{name} may take all memory"
    yield not container["image"].endswith(":unset"), f"{name} has no image"


def check_configuration(things: list[dict]) -> list[str]:
    """Ports that are not those of the configuration, and pods that would be killed while they drain."""
    faults = []
    settings = next(
        tomllib.loads(thing["data"]["trivium.toml"]) for thing in things if "trivium.toml" in thing.get("data", {})
    )
    for thing in workloads(things):
        container = thing["spec"]["template"]["spec"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        server = settings[container["args"][1].replace("-", "_")]["server"]
        expected = {
            "grpc": server["addr"],
            "health": server.get("health_addr"),
            "metrics": settings["telemetry"]["prometheus_addr"],
        }
        expected = {name: int(addr.rsplit(":", 1)[1]) for name, addr in expected.items() if addr}
        if ports != expected:
            faults.append(f"{called(thing)}: its ports are {ports}, the configuration's {expected}")
        probed = {container[probe]["grpc"]["port"] for probe in PROBES}
        if probed != {expected.get("health", expected["grpc"])}:
            faults.append(f"{called(thing)}: its probes go to {probed}")
        grace = thing["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        least = container["lifecycle"]["preStop"]["sleep"]["seconds"] + server["drain_ms"] / 1000 + EXPORT_S
        if grace < least:
            faults.append(f"{called(thing)}: it is killed after {grace} s, and needs {least:g}")
    return faults


def check_references(things: list[dict]) -> list[str]:
    """Selectors and targets that match nothing, and a namespace that allows what it does not deny."""
    labels = [thing["spec"]["template"]["metadata"]["labels"] for thing in workloads(things)]
    scaled = {called(thing): thing["spec"] for thing in workloads(things)}
    faults = [] if any(denies_all(thing) for thing in things) else ["no NetworkPolicy denies what is not allowed"]
    for thing in things:
        wanted = selector(thing)
        if wanted and not any(wanted.items() <= found.items() for found in labels):
            faults.append(f"{called(thing)}: {wanted} selects no pod")
        if thing["kind"] == "Service" and thing["spec"].get("clusterIP") != "None":
            faults.append(f"{called(thing)}: callers would see one address, and stay with one replica")
        if thing["kind"] == "HorizontalPodAutoscaler":
            target = "{kind}/{name}".format(**thing["spec"]["scaleTargetRef"])
            if target not in scaled:
                faults.append(f"{called(thing)}: it scales nothing")
            elif "replicas" in scaled[target]:
                faults.append(f"{called(thing)}: each roll-out would undo what it scaled")
    return faults


def selector(thing):
    """The labels by which an object selects pods, if it does."""
    spec = thing.get("spec", {})
    match thing["kind"]:
        case "Service":
            return spec["selector"]
        case "PodDisruptionBudget":
            return spec["selector"]["matchLabels"]
        case "NetworkPolicy":
            return spec["podSelector"].get("matchLabels")
        case _:
            return None


def denies_all(thing):
    """Whether an object is a policy that lets nothing in or out of any pod."""
    spec = thing.get("spec", {})
    if thing["kind"] != "NetworkPolicy" or spec["podSelector"] or "ingress" in spec or "egress" in spec:
        return False
    return set(spec["policyTypes"]) == {"Ingress", "Egress"}


def check(things: list[dict]) -> list[str]:
    """All that is wrong with the objects of an overlay."""
    faults = [fault for version in VERSIONS for fault in check_schemas(things, version)]
    return faults + check_pods(things) + check_configuration(things) + check_references(things)


def main() -> int:
    faults = 0
    for overlay in OVERLAYS:
        things = rendered(overlay)
        found = check(things)
        faults += len(found)
        print(
            "\n".join(f"{overlay}: {fault}" for fault in found)
            or f"{overlay}: {len(things)} objects fit Kubernetes {', '.join(VERSIONS)}"
        )
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
