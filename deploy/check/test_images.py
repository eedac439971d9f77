"""The image's build finds what it copies, and what is started beside the services fits them."""

import re
import tomllib
import unittest
from pathlib import Path

import yaml

from emitted import CONTRACT, ROOT

COMPOSE = ROOT / "deploy" / "compose"
OURS = {"router", "retriever", "model-host"}


def read(path: Path):
    """A file of YAML or TOML."""
    text = path.read_text(encoding="utf-8")
    return tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)


def let_in(path: Path) -> bool:
    """Whether .dockerignore leaves a file in the context. It leaves out all but what it names."""
    lines = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")
    ]
    assert lines[0] == "*", lines
    named = [line[1:] for line in lines if line.startswith("!")]
    inside = path.resolve().relative_to(ROOT).as_posix()
    return any(inside == name or inside.startswith(name + "/") for name in named)


class Image(unittest.TestCase):
    """The Dockerfile, against the tree."""

    def test_what_is_copied_is_there_and_in_the_context(self):
        text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", text, re.MULTILINE)
        self.assertIn(".", copied)
        for source in set(copied) - {"."}:
            self.assertTrue((ROOT / source).exists(), source)
            self.assertTrue(let_in(ROOT / source), source)

    def test_the_context_holds_every_crate_and_every_file_that_one_includes(self):
        members = read(ROOT / "Cargo.toml")["workspace"]["members"]
        for path in ("Cargo.toml", "Cargo.lock", *(f"{member}/Cargo.toml" for member in members)):
            self.assertTrue(let_in(ROOT / path), path)
        found = 0
        for member in members:
            for source in (ROOT / member / "src").rglob("*.rs"):
                for name in re.findall(r'include(?:_str|_bytes)?!\("([^"]+)"\)', source.read_text(encoding="utf-8")):
                    found += 1
                    self.assertTrue(
                        (source.parent / name).exists() and let_in(source.parent / name), f"{source}: {name}"
                    )
        self.assertGreater(found, 3)

    def test_it_is_built_as_everything_is_built(self):
        text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        channel = read(ROOT / "rust-toolchain.toml")["toolchain"]["channel"]
        self.assertTrue(channel.startswith(re.search(r"^FROM rust:([\d.]+)-", text, re.MULTILINE)[1]), channel)
        for command in ("cargo chef cook", "cargo build"):
            flags = re.search(rf"{command} (.*?)(?: \\)?$", text, re.MULTILINE)[1]
            self.assertLessEqual({"--release", "--locked", "--workspace"}, set(flags.split()), command)

    def test_it_runs_as_nobody(self):
        last = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[-1]
        self.assertIn("\nUSER 65532:65532\n", last)


class Compose(unittest.TestCase):
    """The compose file, and what is mounted into its services."""

    def setUp(self):
        self.services = read(COMPOSE / "compose.yaml")["services"]

    def test_what_is_mounted_is_there(self):
        volumes = set(read(COMPOSE / "compose.yaml")["volumes"])
        for name, service in self.services.items():
            for mount in service.get("volumes", []):
                source = mount.split(":")[0]
                self.assertTrue(
                    (COMPOSE / source).exists() if source.startswith(".") else source in volumes, f"{name}: {mount}"
                )

    def test_nothing_is_reached_from_other_machines(self):
        for name, service in self.services.items():
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")

    def test_our_services_can_change_nothing_and_have_time_to_drain(self):
        settings = read(COMPOSE / "trivium.toml")
        for name in OURS:
            service = self.services[name]
            self.assertEqual((service["read_only"], service["cap_drop"]), (True, ["ALL"]), name)
            drain_s = settings[name.replace("-", "_")]["server"]["drain_ms"] / 1000
            self.assertGreaterEqual(int(service["stop_grace_period"].removesuffix("s")), drain_s + 10, name)

    def test_our_services_are_asked_whether_they_serve_where_they_listen(self):
        settings = read(COMPOSE / "trivium.toml")
        for name in OURS:
            port = settings[name.replace("-", "_")]["server"]["addr"].rsplit(":", 1)[1]
            asked = self.services[name]["healthcheck"]["test"]
            self.assertEqual(asked, ["CMD", "/usr/local/bin/trivium", "health", f"127.0.0.1:{port}"], name)

    def test_images_of_others_have_versions(self):
        for name, service in self.services.items():
            self.assertRegex(service["image"], r":(local|v?\d+\.\d+\.\d+)$", name)

    def test_the_services_are_scraped_where_they_listen(self):
        port = read(COMPOSE / "trivium.toml")["telemetry"]["prometheus_addr"].rsplit(":", 1)[1]
        targets = read(COMPOSE / "prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"]
        self.assertEqual(set(targets), {f"{name}:{port}" for name in OURS})

    def test_grafana_finds_the_dashboards(self):
        mounts = dict(mount.split(":")[:2] for mount in self.services["grafana"]["volumes"])
        provider = read(COMPOSE / "grafana/provisioning/dashboards/trivium.yaml")["providers"][0]
        self.assertEqual(mounts["../grafana"], provider["options"]["path"])
        home = self.services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertTrue((ROOT / "deploy/grafana" / Path(home).name).exists())
        for source in read(COMPOSE / "grafana/provisioning/datasources/sources.yaml")["datasources"]:
            self.assertIn(re.match(r"http://([\w-]+):", source["url"])[1], self.services)


class Collector(unittest.TestCase):
    """The collector's configuration."""

    def setUp(self):
        self.config = read(ROOT / "deploy/collector/collector.yaml")

    def test_pipelines_use_what_is_defined_and_all_of_it(self):
        service = self.config["service"]
        for kind in ("receivers", "processors", "exporters"):
            used = {name for pipeline in service["pipelines"].values() for name in pipeline[kind]}
            self.assertEqual(used, set(self.config[kind]), kind)
        self.assertEqual(set(service["extensions"]), set(self.config["extensions"]))

    def test_it_keeps_errors_slow_degraded_and_unsure_traces(self):
        policies = {policy["name"]: policy for policy in self.config["processors"]["tail_sampling"]["policies"]}
        self.assertLessEqual({"errors", "slow", "degraded", "low-confidence", "unsure", "the-rest"}, set(policies))
        for name, policy in policies.items():
            self.assertIn(policy["type"], policy, f"{name} has no settings of its type")

    def test_what_it_looks_at_is_emitted(self):
        attributes = read(CONTRACT)["attributes"]
        policies = self.config["processors"]["tail_sampling"]["policies"]
        looked_at = set(re.findall(r'attributes\["([^"]+)"\]', str(policies)))
        looked_at |= {policy[policy["type"]]["key"] for policy in policies if policy["type"].endswith("_attribute")}
        self.assertGreaterEqual(len(looked_at), 3)
        self.assertLessEqual(looked_at, set(attributes))
        unsure = next(policy["string_attribute"] for policy in policies if policy["name"] == "unsure")
        self.assertLessEqual(set(unsure["values"]), set(attributes[unsure["key"]]["values"]))


if __name__ == "__main__":
    unittest.main()
