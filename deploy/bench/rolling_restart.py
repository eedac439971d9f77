"""Replaces every replica of every service by SIGTERM while clients ask, and counts what fails.

    rolling_restart.py --trivium BINARY --models DIR [--replace router retriever model-host] [--clients 32]
        [--rounds 1] [--pause 3] [--json FILE]

Two of each service that is to be replaced, and one of each other, run as processes on this machine. The retrievers hold the same documents,
each in a folder of its own, and nobody writes while replicas are replaced: that is what two of them can mean (see
docs/guides/kubernetes.md). One replica after another gets SIGTERM, drains, ends, and is started again at its address.
Half of the clients make unary calls, half read streams to their end, all with gRPC's own balancing over both routers.

Exits with 1 if a call failed, a stream was cut, or nothing was asked while a replica was away.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import grpc

import stubs

stubs.load()

from trivium.router.v1 import router_service_pb2 as router  # noqa: E402
from trivium.router.v1 import router_service_pb2_grpc as router_rpc  # noqa: E402

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs"
QUESTIONS = [
    "What does EMBEDDER_MISMATCH mean?",
    "How do I ingest a folder of Markdown files?",
    "Who decides whether a trace is sampled?",
    "What happens to a write when the disk is full?",
    "How is a policy changed without a restart?",
]
# Both routers under one name, each call on the next of them, as a client of a headless service does it. A list of
# addresses is no host name, and gRPC would send it as one.
BALANCED = [
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.default_authority", "router"),
]
DEADLINE_S = 20


def free_address():
    """An address on loopback that nobody has now, and that is asked for again after each restart."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


SERVICES = ("model-host", "retriever", "router")


class Replica:
    """One process of one service, which can be replaced."""

    def __init__(self, binary, service, number, folder, config):
        self.name, self.address = f"{service}-{number}", free_address()
        arguments = ["--addr", self.address, "--config", str(config)]
        if service == "retriever":
            arguments += ["--data", str(folder / self.name)]
        self.command = [binary, "serve", service, *arguments]
        self.log = folder / f"{self.name}.log"
        self.child = None

    def start(self):
        """Starts it, and waits until it says that it serves."""
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=log)
        for line in self.child.stdout:
            if line.startswith(b"ready "):
                return
        sys.exit(f"rolling_restart: {self.name} did not start: {self.log.read_text()[-2000:]}")

    def stop(self):
        """Asks it to end, and gives how long it drained, in seconds."""
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        if self.child.wait(60) != 0:
            sys.exit(f"rolling_restart: {self.name} ended with {self.child.returncode}, see {self.log}")
        return time.monotonic() - began

    def was_cut(self):
        """Whether it says that it cut calls off."""
        return "calls were cut" in self.log.read_text(errors="replace")


class Clients:
    """Callers that ask one question after another until they are told to stop.

    `connect` gives a channel; `is_current`, asked after each call, whether the caller goes on with the one that it has.
    """

    def __init__(self, connect, count, is_current=lambda _: True):
        self.connect, self.is_current = connect, is_current
        self.stopping, self.lock = threading.Event(), threading.Lock()
        self.counts, self.failures, self.degraded = Counter(), [], Counter()
        self.threads = [
            threading.Thread(target=self.ask, args=(number,)) for number in range(count)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def ask(self, number):
        """One client's life."""
        turn = number
        while not self.stopping.is_set():
            with self.connect() as channel:
                turn = self.ask_over(channel, number, turn)

    def ask_over(self, channel, number, turn):
        """Its calls over one channel. Gives whose turn it is then."""
        service = router_rpc.RouterServiceStub(channel)
        kind = "streams" if number % 2 else "unary"
        while not self.stopping.is_set() and self.is_current(channel):
            question, turn = f"{QUESTIONS[turn % len(QUESTIONS)]} ({turn})", turn + 1
            try:
                account = (stream if kind == "streams" else unary)(service, question)
            except grpc.RpcError as error:
                self.failed(kind, error)
                continue
            with self.lock:
                self.counts[kind] += 1
                self.degraded.update(f"{part.part}: {part.reason}" for part in account.degraded)
        return turn

    def failed(self, kind, error):
        """Notes a failure."""
        with self.lock:
            self.failures.append(f"{kind}: {error.code().name}: {error.details()}")
        time.sleep(0.05)

    def done(self):
        """Calls that ended well until now."""
        with self.lock:
            return self.counts["unary"] + self.counts["streams"]


def unary(service, question):
    """An answer in one piece."""
    request = router.QueryRequest(query=question)
    return service.Query(request, timeout=DEADLINE_S, wait_for_ready=True).account


def stream(service, question):
    """An answer piece by piece, to its end. One without its account was cut."""
    request, account = router.QueryStreamRequest(query=question), None
    for event in service.QueryStream(request, timeout=DEADLINE_S, wait_for_ready=True):
        if event.WhichOneof("event") == "account":
            account = event.account
    if account is None:
        raise CutOff
    return account


class CutOff(grpc.RpcError):
    """A stream that ended without an error and without its last event."""

    def code(self):
        return grpc.StatusCode.DATA_LOSS

    def details(self):
        return "the stream ended before its account"


def replicas(options, folder):
    """Two of each service that is replaced, none of them started, with a configuration that names all of the others."""
    config = folder / "trivium.toml"
    made = {
        service: [
            Replica(options.trivium, service, number, folder, config)
            for number in range(2 if service in options.replace else 1)
        ]
        for service in SERVICES
    }
    model_hosts, retrievers = endpoint(made["model-host"]), endpoint(made["retriever"])
    config.write_text(
        f'[model_host]\nmodels_dir = "{options.models}"\n'
        f'[retriever.model_host]\nendpoint = "{model_hosts}"\n'
        f'[router.model_host]\nendpoint = "{model_hosts}"\n'
        f'[router.retriever]\nendpoint = "{retrievers}"\n'
        # Thirty-two clients are more than two cores can please; what is asked here is not who is refused.
        "[router.server]\nmax_slowdown_percent = 0\n"
    )
    return made


def endpoint(replicas):
    """What a client is configured with: a list, or the only one."""
    return ",".join(one.address for one in replicas) if len(replicas) > 1 else f"http://{replicas[0].address}"


def ingest(binary, retriever):
    """The same documents into one retriever."""
    command = [binary, "ingest", "--endpoint", f"http://{retriever.address}", str(DOCUMENTS)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def replace_all(made, clients, pause):
    """Replaces one replica after another. Gives a row for each."""
    rows = []
    for replica in [one for service in made.values() if len(service) > 1 for one in service]:
        before = clients.done()
        drained_s = replica.stop()
        time.sleep(pause)
        while_away = clients.done() - before
        replica.start()
        time.sleep(pause)
        rows.append({"replica": replica.name, "drained_s": round(drained_s, 2), "answers_while_away": while_away})
        print(f"  {replica.name}: drained in {drained_s:.2f} s, {while_away} answers while it was away", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trivium", required=True, type=Path)
    parser.add_argument("--models", required=True, type=Path)
    parser.add_argument("--replace", nargs="+", choices=SERVICES, default=SERVICES)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pause", type=float, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trivium-rolling-") as folder, contextlib.ExitStack() as running:
        made = replicas(options, Path(folder))
        everyone = [one for service in made.values() for one in service]
        for replica in everyone:
            replica.start()
            running.callback(lambda child=replica: child.child.kill())
        for retriever in made["retriever"]:
            ingest(options.trivium, retriever)
        target = "ipv4:" + ",".join(one.address for one in made["router"])
        rows = []
        with Clients(lambda: grpc.insecure_channel(target, BALANCED), options.clients) as clients:
            time.sleep(options.pause)
            for _ in range(options.rounds):
                rows += replace_all(made, clients, options.pause)
        cut = [one.name for one in everyone if one.was_cut()]
    report = {
        **clients.counts,
        "failed": len(clients.failures),
        "degraded": dict(clients.degraded),
        "cut": cut,
        "replaced": rows,
    }
    print(json.dumps({**report, "failures": Counter(clients.failures).most_common(10)}, indent=1))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(bool(clients.failures or cut or not all(row["answers_while_away"] for row in rows)))


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    main()
