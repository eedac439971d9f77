"""Dashboards, alerts and runbooks fit the services, and the check of that finds what does not fit."""

import re
import unittest

import yaml

import queries
from emitted import ROOT, Series, emitted, methods
from queries import Query
from scripts import loaded

KNOWN = {
    "calls_bucket": Series({"le": frozenset(["0.25", "+Inf"]), "road": frozenset(["lexical", "hybrid"]), "pod": None}),
    "calls_count": Series({"road": frozenset(["lexical", "hybrid"]), "pod": None}),
}


def faults_of(*texts):
    """What is wrong with queries, the last of which may use what those before it record as r0, r1 and so on."""
    return queries.check([Query("here", text, f"r{at}") for at, text in enumerate(texts)], KNOWN)


class TheCheck(unittest.TestCase):
    """What fits passes, and each kind of fault is found."""

    def test_what_fits_passes(self):
        for text in (
            'sum by (road) (rate(calls_count{road=~"lexical|hybrid", pod="any"}[5m]))',
            "histogram_quantile(0.9, sum by (le) (rate(calls_bucket[$__rate_interval])))",
            'calls_bucket{le="0.25"} / on (road, pod) group_left () calls_count',
            "max_over_time(sum(calls_count)[1h:1m])",
        ):
            self.assertEqual(faults_of(text), [], text)
        self.assertEqual(faults_of("sum by (road) (calls_count)", 'r0{road="hybrid"}'), [])

    def test_each_fault_is_found(self):
        for text, fault in (
            ("rate(call_count[5m])", "no service emits call_count"),
            ("sum by (rode) (calls_count)", "names the label rode"),
            ('calls_count{rode="hybrid"}', "has no label rode"),
            ('calls_count{road="hybird"}', "is never hybird"),
            ('calls_count{road=~"lexical|hybird"}', "is never hybird"),
            ('calls_bucket{le="0.3"}', "is never"),
            ("histogram_quantile(0.9, sum by (road) (rate(calls_bucket[5m])))", "names the label le"),
            ("calls_count / on (rode) calls_count", "names the label rode"),
            ("sum(", "here: "),
            ("1 - calls_sum", "no service emits calls_sum"),
        ):
            found = faults_of(text)
            self.assertEqual(len(found), 1, text)
            self.assertIn(fault, found[0])

    def test_a_label_that_a_rule_sums_away_is_gone(self):
        self.assertEqual(len(faults_of("sum by (road) (calls_count)", 'r0{pod="a"}')), 1)

    def test_a_scrape_is_held_against_the_contract(self):
        fits = '# HELP calls_count x\ncalls_count{road="hybrid",pod="p"} 3\ncalls_bucket{road="hybrid",le="+Inf"} 3\n'
        self.assertEqual(queries.check_scrape(fits, KNOWN), [])
        for line in ('call_count{road="hybrid"} 3', 'calls_count{road="direct"} 3', 'calls_count{rode="hybrid"} 3'):
            self.assertEqual(len(queries.check_scrape(line + "\n", KNOWN)), 1, line)


class TheProject(unittest.TestCase):
    """What is checked in."""

    def test_every_query_fits(self):
        everything = queries.all_queries()
        self.assertEqual(queries.check(everything, emitted()), [])
        for kind in (queries.of_rules, queries.of_dashboards, queries.of_runbooks):
            self.assertTrue(list(kind()), kind)

    def test_without_any_one_metric_of_an_alert_the_check_fails(self):
        known, everything = emitted(), queries.all_queries()
        used = {name for query in everything for name in known if re.search(rf"\b{name}\b", query.text)}
        self.assertGreater(len(used), 30)
        for name in used:
            rest = {other: series for other, series in known.items() if other != name}
            self.assertNotEqual(queries.check(everything, rest), [], name)

    def test_methods_are_read_off_the_contract(self):
        found = methods(ROOT / "proto" / "trivium")
        self.assertIn("trivium.router.v1.RouterService/QueryStream", found)
        self.assertIn("trivium.retriever.v1.RetrieverService/Search", found)

    def test_dashboards_are_what_their_source_writes(self):
        module = loaded(queries.GRAFANA / "dashboards.py")
        there = {path.name: path.read_text(encoding="utf-8") for path in queries.GRAFANA.glob("*.json")}
        self.assertEqual(there, module.written(), "write them anew: make dashboards")

    def test_panels_of_a_dashboard_do_not_overlap(self):
        for path in queries.GRAFANA.glob("*.json"):
            taken = set()
            for panel in yaml.safe_load(path.read_text(encoding="utf-8"))["panels"]:
                at = panel["gridPos"]
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertFalse(cells & taken, f"{path.name}: {panel['title']}")
                self.assertLessEqual(at["x"] + at["w"], 24, f"{path.name}: {panel['title']}")
                taken |= cells

    def test_each_alert_has_a_runbook_and_a_test_that_lets_it_fire(self):
        rules = yaml.safe_load((queries.RULES / "alerts.yml").read_text(encoding="utf-8"))
        alerts = {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}
        pages = {path.stem for path in queries.RUNBOOKS.glob("Trivium*.md")}
        self.assertEqual(pages, set(alerts))
        fired, index = set(), (queries.RUNBOOKS / "README.md").read_text(encoding="utf-8")
        for path in (queries.RULES.parent / "tests").glob("*.yml"):
            for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
                fired |= {rule["alertname"] for rule in test["alert_rule_test"] if rule["exp_alerts"]}
        for name, rule in alerts.items():
            self.assertEqual(rule["annotations"]["runbook"], f"docs/runbooks/{name}.md")
            page = (queries.RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
            self.assertIn(f"Severity: {rule['labels']['severity']}.", page)
            self.assertIn(f"({name}.md) | {rule['labels']['severity']} |", index)
            self.assertIn(name, fired, "no test lets it fire")

    def test_links_of_the_runbooks_lead_somewhere(self):
        for path in queries.RUNBOOKS.glob("*.md"):
            for link in re.findall(r"\]\(([^)#]+\.(?:md|yml))(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
                self.assertTrue((path.parent / link).exists(), f"{path.name}: {link}")


if __name__ == "__main__":
    unittest.main()
