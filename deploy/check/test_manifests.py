"""The manifests fit, and each kind of mistake in them is found."""

import copy
import re
import unittest

import yaml

import manifests
import queries
from emitted import ROOT, emitted
from scripts import loaded

PRODUCTION = manifests.rendered("production")


def the(things, name):
    """The object of that kind and name."""
    return next(thing for thing in things if manifests.called(thing) == name)


def pod(things, name):
    """The pod that an object makes."""
    return the(things, name)["spec"]["template"]["spec"]


class Manifests(unittest.TestCase):
    """Each test that changes something changes a copy."""

    def setUp(self):
        self.things = copy.deepcopy(PRODUCTION)

    def test_every_overlay_fits(self):
        for overlay in manifests.OVERLAYS:
            self.assertEqual(manifests.check(manifests.rendered(overlay)), [], overlay)

    def test_a_misspelt_field_fails_in_every_kind_of_object_and_every_version(self):
        kinds = {thing["kind"]: thing for thing in self.things}
        self.assertGreater(len(kinds), 10)
        for kind, thing in kinds.items():
            part = thing.get("spec", thing)
            field = next(iter(part))
            part[field + "x"] = part[field]
            for version in manifests.VERSIONS:
                self.assertEqual(len(manifests.check_schemas([thing], version)), 1, f"{kind} {version}")

    def test_a_misspelt_field_deep_inside_fails(self):
        container = pod(self.things, "Deployment/router")["containers"][0]
        container["readinesProbe"] = container["readinessProbe"]
        rule = the(self.things, "PrometheusRule/trivium")["spec"]["groups"][-1]["rules"][0]
        rule["foor"] = "5m"
        for version in manifests.VERSIONS:
            faults = manifests.check_schemas(self.things, version)
            self.assertEqual(len(faults), 2, faults)

    def test_a_wrong_type_fails(self):
        the(self.things, "StatefulSet/retriever")["spec"]["replicas"] = "one"
        self.assertTrue(manifests.check_schemas(self.things, manifests.VERSIONS[0]))

    def test_a_kind_without_a_schema_fails(self):
        the(self.things, "ServiceMonitor/trivium")["kind"] = "PodMonitor"
        self.assertTrue(manifests.check_schemas(self.things, manifests.VERSIONS[0]))

    def test_each_weakness_of_a_pod_is_found(self):
        def root(spec):
            spec["securityContext"]["runAsUser"] = 0

        def token(spec):
            spec["automountServiceAccountToken"] = True

        def writable(spec):
            spec["initContainers"][0]["securityContext"]["readOnlyRootFilesystem"] = False

        def capable(spec):
            spec["containers"][0]["securityContext"]["capabilities"]["drop"] = []

        def unbounded(spec):
            del spec["containers"][0]["resources"]["limits"]

        def unprobed(spec):
            del spec["containers"][0]["startupProbe"]

        def crowded(spec):
            del spec["topologySpreadConstraints"]

        def linked(spec):
            del spec["enableServiceLinks"]

        for weaken in (root, token, writable, capable, unbounded, unprobed, crowded, linked):
            things = copy.deepcopy(PRODUCTION)
            weaken(pod(things, "Deployment/model-host"))
            self.assertEqual(len(manifests.check_pods(things)), 1, weaken.__name__)

    def test_a_pod_that_would_be_killed_while_it_drains_is_found(self):
        pod(self.things, "Deployment/router")["terminationGracePeriodSeconds"] = 30
        self.assertEqual(len(manifests.check_configuration(self.things)), 1)

    def test_a_port_that_is_not_the_configuration_s_is_found(self):
        pod(self.things, "Deployment/router")["containers"][0]["ports"][0]["containerPort"] = 7777
        self.assertEqual(len(manifests.check_configuration(self.things)), 1)

    def test_what_selects_nothing_is_found(self):
        the(self.things, "Service/router")["spec"]["selector"] = {"app.kubernetes.io/name": "rooter"}
        the(self.things, "HorizontalPodAutoscaler/router")["spec"]["scaleTargetRef"]["name"] = "rooter"
        the(self.things, "NetworkPolicy/router")["spec"]["podSelector"]["matchLabels"] = {
            "app.kubernetes.io/name": "rooter"
        }
        self.assertEqual(len(manifests.check_references(self.things)), 3)

    def test_without_the_policy_that_denies_the_check_fails(self):
        self.things.remove(the(self.things, "NetworkPolicy/default-deny"))
        self.assertEqual(len(manifests.check_references(self.things)), 1)

    def test_the_autoscalers_metric_is_served_and_emitted(self):
        adapter = yaml.safe_load((manifests.KUBERNETES / "prometheus-adapter.yaml").read_text(encoding="utf-8"))
        served = {rule["name"]["as"]: rule for rule in adapter["rules"]["custom"]}
        for thing in self.things:
            if thing["kind"] == "HorizontalPodAutoscaler":
                for metric in thing["spec"]["metrics"]:
                    self.assertIn(metric["pods"]["metric"]["name"], served)
        for rule in served.values():
            series = queries.Query("series", rule["seriesQuery"])
            inside = rule["metricsQuery"].replace("<<.Series>>", re.match(r"\w+", rule["seriesQuery"])[0])
            inside = inside.replace("<<.LabelMatchers>>", 'pod="p"').replace("<<.GroupBy>>", "pod")
            self.assertEqual(queries.check([series, queries.Query("metrics", inside)], emitted()), [])

    def test_rules_and_dashboards_in_the_cluster_are_those_that_are_tested(self):
        rules = loaded(ROOT / "deploy" / "prometheus" / "rule_object.py")
        there = (ROOT / "deploy" / "prometheus" / "prometheus-rule.yaml").read_text(encoding="utf-8")
        self.assertEqual(there, rules.written(), "write it anew: make alerts")
        boards = the(self.things, "ConfigMap/trivium-dashboards")["data"]
        self.assertEqual(set(boards), {path.name for path in queries.GRAFANA.glob("*.json")})


if __name__ == "__main__":
    unittest.main()
