"""What tracing, certificates and keys cost a query, each as a ratio of median latencies, out of one run.

    overhead.py --trivium BINARY --models DIR [--data DIR --collection NAME] [--queries FILE] [--call query]
        [--rounds 40] [--calls 10] [--with NAME ...] [--json FILE]

One process of `trivium up` for each way to run it, all at the same time, and one client that asks them in turns (`trivium
bench compare`), so that whatever changes on the machine meanwhile changes for all. Each has a copy of the collections of --data;
without it, of this project's documentation. With certificates every hop has them, the two behind the router included.

plain     nothing; no span is recorded, and none is in those below that do not say so
tracing   every query sampled, spans and metrics sent to a collector that listens and keeps nothing
tls       servers show certificates
mtls      clients show certificates as well, and names are checked
key       the caller shows an API key
token     the caller shows a JSON Web Token, signed with Ed25519
all       tracing, mtls and token
"""

import argparse
import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from authority import Authority, Side, openssl
from rolling_restart import DOCUMENTS

WAYS = {
    "plain": set(),
    "tracing": {"tracing"},
    "tls": {"tls"},
    "mtls": {"mtls"},
    "key": {"key"},
    "token": {"token"},
    "all": {"tracing", "mtls", "token"},
}
TENANT = "acme"
SERVERS = ("router", "retriever", "model_host")
HOPS = ("router.retriever", "router.model_host", "retriever.model_host")
# The prefix of an Ed25519 public key in DER; the key itself is what follows.
ED25519_PREFIX_BYTES = 12


class Collector(grpc.GenericRpcHandler):
    """Takes whatever is exported, and counts the calls."""

    def __init__(self):
        self.exports = 0
        self.server = grpc.server(ThreadPoolExecutor(2), handlers=[self])
        self.address = f"http://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, _):
        return grpc.unary_unary_rpc_method_handler(self.take)

    def take(self, _request, _context):
        """An export. An empty message says that all was taken."""
        self.exports += 1
        return b""


def encoded(data):
    """Base64 as tokens have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens."""

    def __init__(self, folder):
        self.key, self.keys, message = folder / "issuer.key", folder / "jwks.json", folder / "message"
        openssl("genpkey", "-algorithm", "ed25519", "-out", self.key)
        openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER", "-out", folder / "issuer.der")
        public = (folder / "issuer.der").read_bytes()[ED25519_PREFIX_BYTES:]
        jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "1", "alg": "EdDSA", "x": encoded(public)}
        self.keys.write_text(json.dumps({"keys": [jwk]}))
        head = {"alg": "EdDSA", "typ": "JWT", "kid": "1"}
        claims = {"iss": "issuer", "aud": "trivium", "tenant": TENANT, "exp": int(time.time()) + 86_400}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
        message.write_text(signed)
        openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.key, "-in", message, "-out", folder / "signature")
        self.token = folder / "token"
        self.token.write_text(signed + "." + encoded((folder / "signature").read_bytes()))


class Way:
    """One way to run the services, and what its caller shows."""

    def __init__(self, name, folder, options, shared):
        self.name, self.parts, self.folder = name, WAYS[name], folder / f"{name}.way"
        self.folder.mkdir()
        self.options, self.shared, self.access, self.tenant = options, shared, {}, None
        self.config, self.log, self.child = self.folder / "trivium.toml", self.folder / "log", None
        self.config.write_text(self.configuration())

    def configuration(self):
        """Its configuration file, as the guide has it."""
        text = f'[model_host]\nmodels_dir = "{self.options.models}"\n'
        if self.parts & {"tls", "mtls"}:
            text += self.certificates()
        if self.parts & {"key", "token"}:
            self.tenant = TENANT
            self.access["api_key_file"] = str(self.shared["key" if "key" in self.parts else "token"])
            for server in SERVERS:
                text += f'[{server}.server.auth]\nkeys_file = "{self.shared["keys"]}"\n'
        if "token" in self.parts:
            for server in ("router", "retriever"):
                text += f'[{server}.server.auth.jwt]\njwks_file = "{self.shared["jwks"]}"\n'
                text += 'issuer = "issuer"\naudience = "trivium"\n'
        return text

    def certificates(self):
        """Those of every hop. One certificate serves all services of a process."""
        own, client, text = self.shared["server"], self.shared["client"], ""
        self.access["ca"] = str(client.ca)
        is_mutual = "mtls" in self.parts
        if is_mutual:
            self.access |= {"cert": str(client.certificate), "cert_key": str(client.key)}
        shown = f'certificate = "{own.certificate}"\nkey = "{own.key}"\n'
        for server in SERVERS:
            text += f"[{server}.server.tls]\n{shown}"
            text += f'client_ca = "{own.ca}"\nallowed_peers = ["server", "client"]\n' if is_mutual else ""
        for hop in HOPS:
            text += f'[{hop}.tls]\nca = "{own.ca}"\n'
            text += f'{shown}allowed_peers = ["server"]\n' if is_mutual else ""
        return text

    def copy_data(self):
        """Gives it a copy of the collections, which belong to its caller's tenant."""
        source, to = self.options.data / "collections", self.folder / "data" / "collections"
        for collection in source.iterdir():
            if not self.tenant:
                shutil.copytree(collection, to / collection.name)
                continue
            mine = to / f"{self.tenant}.{collection.name}"
            shutil.copytree(collection, mine)
            file = mine / "collection.toml"
            file.write_text(f'tenant = "{self.tenant}"\n' + file.read_text())

    def start(self):
        """Starts it, and waits until it serves."""
        if self.options.data:
            self.copy_data()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRIVIUM_"))}
        if "tracing" in self.parts:
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = self.shared["collector"].address
        else:
            environment["OTEL_TRACES_SAMPLER"] = "always_off"
        any_port = [flag for service in ("router", "retriever", "model-host") for flag in (f"--{service}-addr", "127.0.0.1:0")]
        command = [self.options.trivium, "up", "--config", self.config, "--data", self.folder / "data", *any_port]
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        ready = self.child.stdout.readline().decode()
        if not ready.startswith("ready "):
            sys.exit(f"overhead: {self.name} did not start: {self.log.read_text(errors='replace')[-500:]}")
        self.addresses = dict(word.split("=") for word in ready.split()[1:])
        if not self.options.data:
            flags = [part for key, value in self.access.items() for part in ("--" + key.replace("_", "-"), value)]
            command = [self.options.trivium, "ingest", "--endpoint", self.addresses["retriever"], *flags, str(DOCUMENTS)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def table(self):
        """What `trivium bench compare` reads of it."""
        access = ", ".join(f"{key} = {json.dumps(value)}" for key, value in self.access.items())
        return (
            f'[[server]]\nname = "{self.name}"\nendpoint = "{self.addresses["router"]}"\n'
            f'retriever_endpoint = "{self.addresses["retriever"]}"\naccess = {{ {access} }}\n'
        )


def prepare(options, folder):
    """What several ways share."""
    authority, issuer = Authority(folder), Issuer(folder)
    sides = {name: Side(folder, name) for name in ("server", "client")}
    for side in sides.values():
        side.trust(authority)
        side.own(authority)
    keys, key = folder / "keys.toml", folder / "key"
    made = subprocess.run(
        [options.trivium, "keys", "new", "--tenant", TENANT, "--file", keys], check=True, capture_output=True, text=True
    )
    key.write_text(made.stdout)
    return {"collector": Collector(), "keys": keys, "key": key, "token": issuer.token, "jwks": issuer.keys, **sides}


def measure(options, folder, running):
    """Everything; gives the rows of the report."""
    shared = prepare(options, folder)
    running.callback(shared["collector"].server.stop, None)
    ways = [Way(name, folder, options, shared) for name in options.ways]
    for way in ways:
        way.start()
        running.callback(way.child.kill)
        print(f"  {way.name} serves", file=sys.stderr, flush=True)
    servers = folder / "servers.toml"
    servers.write_text("".join(way.table() for way in ways))
    command = [options.trivium, "bench", "compare", servers, "--json", "--collection", options.collection]
    command += ["--call", options.call, "--rounds", str(options.rounds), "--calls", str(options.calls)]
    command += ["--queries", str(options.queries)] if options.queries else []
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"overhead: {done.stderr}")
    if "tracing" in options.ways and not shared["collector"].exports:
        sys.exit("overhead: nothing was exported, so tracing was not measured")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trivium", required=True, type=Path)
    parser.add_argument("--models", required=True, type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--collection", default="docs")
    parser.add_argument("--queries", type=Path)
    parser.add_argument("--call", default="query")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--with", dest="ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trivium-overhead-") as folder, contextlib.ExitStack() as running:
        rows = measure(options, Path(folder), running)
    print(f"{options.call}, one client, {options.rounds} rounds of {options.calls} calls")
    print("| | p50 ms | p95 ms | ratio of p50 | half of the rounds |\n|---|---|---|---|---|")
    for row in rows:
        low, high = row["ratio_quartiles"]
        figures = f"{row['p50_ms']:.2f} | {row['p95_ms']:.2f} | {row['ratio']:.3f} | {low:.3f} to {high:.3f}"
        print(f"| {row['name']} | {figures} |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    main()
