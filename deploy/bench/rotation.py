"""Replaces every certificate and the authority behind them while clients ask, again and again, and counts what fails.

    rotation.py --trivium BINARY --models DIR [--clients 32] [--seconds 60] [--json FILE]

Three services run as processes on this machine, and both sides of each hop show certificates. A rotation has three steps:
everybody trusts the new authority as well, then everybody gets a certificate from it, then nobody trusts the old one. The
next step begins once every process says that it has read its files. Connections live for three seconds, so that all of them
are made anew between two rotations. Half of the clients make unary calls, half read streams to their end; each connects
anew when its own certificate was replaced.

In the end somebody comes with a certificate that has expired, and somebody with one of a foreign authority. Exits with 1 if
a call failed, or if one of the two was not refused, and told why in the router's log.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import grpc

from authority import Authority, Side
from rolling_restart import DOCUMENTS, SERVICES, Clients, Replica

# Each hop's caller has one set of files to follow, and each server one: what a process says when it has read them.
FOLLOWED = {"model-host": 1, "retriever": 2, "router": 3}
READ = "files have changed and were read"
AGE_MS = 3000
RELOAD_MS = 200
PATIENCE_S = 30


class Service(Replica):
    """One service, with files of its own."""

    def __init__(self, binary, service, folder, config):
        super().__init__(binary, service, 0, folder, config)
        self.service, self.side = service, Side(folder, service)

    def lines(self, text):
        """How many lines of its log have a text."""
        return self.log.read_text(errors="replace").count(text)


def configuration(services, models):
    """What all of them are configured with."""
    text = f'[model_host]\nmodels_dir = "{models}"\n'
    callers = {"model-host": ["router", "retriever"], "retriever": ["router", "client"], "router": ["client"]}
    for name, service in services.items():
        side, section = service.side, name.replace("-", "_")
        text += (
            f"[{section}.server]\nmax_connection_age_ms = {AGE_MS}\n"
            # Thirty-two clients are more than two cores can please; what is asked here is not who is refused.
            "max_slowdown_percent = 0\n"
            f'[{section}.server.tls]\ncertificate = "{side.certificate}"\nkey = "{side.key}"\nclient_ca = "{side.ca}"\n'
            f"allowed_peers = {json.dumps(callers[name])}\nreload_ms = {RELOAD_MS}\n"
        )
        for peer in {"retriever": ["model-host"], "router": ["model-host", "retriever"]}.get(name, []):
            text += (
                f'[{section}.{peer.replace("-", "_")}]\nendpoint = "{services[peer].address}"\n'
                f'[{section}.{peer.replace("-", "_")}.tls]\nca = "{side.ca}"\ncertificate = "{side.certificate}"\n'
                f'key = "{side.key}"\nallowed_peers = ["{peer}"]\nreload_ms = {RELOAD_MS}\n'
            )
    return text


class Holder:
    """What the clients hold, and which of their channels were made with it."""

    def __init__(self, side, address):
        self.side, self.address = side, address
        self.lock, self.generation, self.made_with, self.connections = threading.Lock(), 0, {}, 0

    def connect(self):
        """A channel with the files as they are."""
        with self.lock:
            credentials = grpc.ssl_channel_credentials(
                self.side.ca.read_bytes(), self.side.key.read_bytes(), self.side.certificate.read_bytes()
            )
            channel = grpc.secure_channel(self.address, credentials)
            self.connections += 1
            self.made_with[threading.get_ident()] = self.generation
        return channel

    def is_current(self, _):
        """Whether the files are still those that this thread's channel was made with."""
        return self.made_with[threading.get_ident()] == self.generation

    def replaced(self, change):
        """Changes the files."""
        with self.lock:
            change(self.side)
            self.generation += 1

    def all_are_current(self):
        """Whether every client has connected with the newest files."""
        with self.lock:
            return all(generation == self.generation for generation in self.made_with.values())


def wait(condition, what):
    """Waits for something that must come to pass."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"rotation: {what} did not come to pass")
        time.sleep(0.02)


def step(services, holder, change):
    """One step on every side. Ends when all of them have taken it."""
    before = {name: service.lines(READ) for name, service in services.items()}
    for service in services.values():
        change(service.side)
    holder.replaced(change)
    for name, service in services.items():
        wanted = before[name] + FOLLOWED[name]
        wait(lambda: service.lines(READ) >= wanted, f"a look of the {name} at its files")
    wait(holder.all_are_current, "a new connection of every client")


def rotate(services, holder, old, new):
    """As one rotates without a gap."""
    step(services, holder, lambda side: side.trust(old, new))
    step(services, holder, lambda side: side.own(new))
    step(services, holder, lambda side: side.trust(new))


def access(side):
    """What the command line shows."""
    return ["--ca", str(side.ca), "--cert", str(side.certificate), "--cert-key", str(side.key)]


def refused(binary, services, side, why):
    """Whether somebody is turned away, and the router's log says why."""
    router = services["router"]
    # The log tells of one refusal a second.
    time.sleep(1.1)
    asked = subprocess.run(
        [binary, "health", router.address, *access(side)], capture_output=True, text=True, check=False
    )
    print(f"  {side.name}: exit code {asked.returncode}: {asked.stderr.strip()}")
    lines = [
        line for line in router.log.read_text(errors="replace").splitlines() if "refused at the handshake" in line
    ]
    told = [line for line in lines if why in line]
    print("  in the log: " + (told[-1] if told else "nothing"), flush=True)
    return asked.returncode == 1 and bool(told)


def run(options, folder, running):
    """Everything; gives the report."""
    authority, config = Authority(folder), folder / "trivium.toml"
    services = {name: Service(options.trivium, name, folder, config) for name in SERVICES}
    client = Side(folder, "client")
    for side in [*(service.side for service in services.values()), client]:
        side.trust(authority)
        side.own(authority)
    config.write_text(configuration(services, options.models))
    for service in services.values():
        service.start()
        running.callback(service.child.kill)
    retriever = ["--endpoint", services["retriever"].address]
    ingest = [options.trivium, "ingest", *retriever, *access(client), str(DOCUMENTS)]
    subprocess.run(ingest, check=True, stdout=subprocess.DEVNULL)

    holder = Holder(client, services["router"].address)
    rotations, until = 0, time.monotonic() + options.seconds
    with Clients(holder.connect, options.clients, holder.is_current) as clients:
        while time.monotonic() < until:
            new = Authority(folder)
            rotate(services, holder, authority, new)
            authority, rotations = new, rotations + 1
            print(f"  rotation {rotations}: {clients.done()} answers, {len(clients.failures)} failures", flush=True)
            # Connections of before grow old and end.
            time.sleep(AGE_MS / 1000)
    expired, foreign = Side(folder, "expired"), Side(folder, "foreign")
    for side, own in ((expired, authority), (foreign, Authority(folder))):
        side.trust(authority)
        side.own(own, expired=side is expired)
    are_refused = [
        refused(options.trivium, services, expired, "certificate expired"),
        refused(options.trivium, services, foreign, "UnknownIssuer"),
    ]
    return {
        **clients.counts,
        "failed": len(clients.failures),
        "failures": Counter(clients.failures).most_common(10),
        "degraded": dict(clients.degraded),
        "rotations": rotations,
        "connections_of_clients": holder.connections,
        "refused_on_purpose": sum(are_refused),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trivium", required=True, type=Path)
    parser.add_argument("--models", required=True, type=Path)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trivium-rotation-") as folder, contextlib.ExitStack() as running:
        report = run(options, Path(folder), running)
    print(json.dumps(report, indent=1))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(bool(report["failed"] or report["degraded"] or report["refused_on_purpose"] != 2))


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    main()
