"""Compares a whole query without an answer with the usual Python stack: decide, embed, search both ways, return passages.

    end_to_end.py --corpus DIR --work DIR --trivium BINARY --weights DIR --intents FILE [--json FILE]

The folder --work is one that `compare.py prepare` filled, so that both sides hold the same rows. --weights is the
encoder that made the vectors, in a folder that sentence-transformers reads; --intents has the labelled queries
that the routes are made of on either side. Trivium runs as three processes; the Python stack in the process of this script.
"""
import argparse
import contextlib
import importlib.metadata
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from compare import CLIENTS, Corpus, K, of_benches
from lancedb_side import LanceDb
from measure import latencies, percentiles, throughput
from stack_side import PythonStack
from trivium_side import COLLECTION, Process, Trivium, TriviumQuery

# A policy that always searches both ways: what is compared is the time, not the choice.
ROUTES = """version = 1
[default]
route = "hybrid"
threshold = 0.0
collections = ["%s"]
"""
# Nothing may be remembered of a query that is asked again.
FORGETFUL = {"TRIVIUM_MODEL_HOST__ANALYSIS_CACHE_ENTRIES": "0"}


@contextlib.contextmanager
def services(options):
    """All three services, each a process."""
    routes = options.work / "hybrid.toml"
    routes.write_text(ROUTES % COLLECTION)
    with contextlib.ExitStack() as stack:
        def start(service, *arguments, environment):
            process = Process(
                options.trivium, service, options.work / f"{service}.log", *arguments, environment=environment
            )
            stack.callback(process.stop)
            return process

        host = start("model-host", environment=FORGETFUL)
        at = lambda process: f"http://{process.address}"
        retriever = start(
            "retriever", "--data", str(options.work / "trivium"),
            environment={"TRIVIUM_RETRIEVER__MODEL_HOST__ENDPOINT": at(host)},
        )
        router = start("router", environment={
            "TRIVIUM_ROUTER__MODEL_HOST__ENDPOINT": at(host), "TRIVIUM_ROUTER__RETRIEVER__ENDPOINT": at(retriever),
            "TRIVIUM_ROUTER__ROUTES_FILE": str(routes),
        })
        yield host, retriever, router


def bench(options, retriever, router):
    """Figures of `trivium bench`, by call and by number of clients."""
    arguments = [
        options.trivium, "bench", "--json", "--collection", COLLECTION, "--clients", f"1,{CLIENTS}",
        "--queries", str(options.corpus / "queries.txt"), "--calls", str(options.calls),
        "--endpoint", f"http://{router.address}", "--retriever-endpoint", f"http://{retriever.address}",
    ]
    rows = json.loads(subprocess.run(arguments, check=True, stdout=subprocess.PIPE).stdout)
    return {(row["name"], row["clients"]): row for row in rows}


def measure(options, corpus):
    queries = min(len(corpus.queries), options.queries)
    lance = LanceDb(str(options.work / "lancedb"), corpus.queries, corpus.query_vectors, K)
    lance.table = lance.db.open_table("compare")
    prepared = json.loads((options.work / "lancedb.json").read_text())
    lance.fastest(prepared["settings"], min(50, queries))
    stack = PythonStack(options.weights, options.intents, lance)
    with services(options) as (_, retriever, router):
        trivium = TriviumQuery(router.address, corpus.queries, K)
        counts = {
            "trivium": Trivium(retriever.address, corpus.embedder, [], [], K).describe().chunks,
            "lancedb": lance.table.count_rows(),
        }
        if set(counts.values()) != {len(corpus.documents)}:
            sys.exit(f"end_to_end: the sides hold {counts}, the corpus {len(corpus.documents)}")
        check_vectors(stack, corpus)
        sides = {"trivium (python client)": trivium.ask, "python stack": stack.ask}
        for query in range(min(50, queries)):
            for ask in sides.values():
                ask(query)
        seconds, rates, benches = {name: [] for name in sides}, {name: [] for name in sides}, []
        for turn in range(options.rounds):
            order = list(sides) if turn % 2 == 0 else list(reversed(sides))
            for name in order:
                seconds[name] += latencies(sides[name], queries)
            for name in order:
                rates[name].append(throughput(sides[name], queries, CLIENTS, options.seconds))
            benches.append(bench(options, retriever, router))
            print(f"end_to_end: round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
    rows = {name: {**percentiles(seconds[name]), "per_second": float(np.median(rates[name]))} for name in sides}
    named = [{clients: row for (name, clients), row in bench.items() if name == "query_routed"} for bench in benches]
    rows = {"trivium (bench)": of_benches(named), **rows}
    versions = ("semantic-router", "sentence-transformers", "lancedb", "torch")
    return {
        "chunks": len(corpus.documents), "queries": queries, "k": K, "rounds": options.rounds, "sides": rows,
        "versions": {name: importlib.metadata.version(name) for name in versions},
        "beyond_forward_p50_ms": {
            name: float(np.median([bench[name, 1]["overhead_p50_ms"] for bench in benches]))
            for name in ("route", "query_routed", "query_no_answer")
        },
    }


def check_vectors(stack, corpus):
    """Both sides must search with the same vectors, or they answer different questions."""
    for query in range(3):
        cosine = float(stack.embed(corpus.queries[query]) @ corpus.query_vectors[query])
        if cosine < 0.99:
            sys.exit(f"end_to_end: the Python stack's vectors differ from the corpus's (cosine {cosine:.3f})")


def show(report):
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    print(f"{report['chunks']} chunks, {report['queries']} queries, k = {report['k']}; {versions}")
    print(f"\n{'':26}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{f'{CLIENTS} clients/s':>14}")
    for name, row in report["sides"].items():
        print(f"{name:26}{row['p50_ms']:9.2f}{row['p95_ms']:9.2f}{row['p99_ms']:9.2f}{row['per_second']:14.1f}")
    stack, best = report["sides"]["python stack"], report["sides"]["trivium (bench)"]
    print(f"\np50 1/{stack['p50_ms'] / best['p50_ms']:.1f}, throughput {best['per_second'] / stack['per_second']:.1f} x")
    for name, ms in report["beyond_forward_p50_ms"].items():
        print(f"{name}: p50 {ms:.2f} ms beyond its forward pass")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder that corpus.py wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder that compare.py prepare filled")
    parser.add_argument("--trivium", required=True, help="the binary")
    parser.add_argument("--weights", type=Path, required=True, help="folder of the encoder")
    parser.add_argument("--intents", type=Path, required=True, help="labelled queries: {\"text\", \"label\"} on each line")
    parser.add_argument("--chunks", type=int, help="only the first rows of the corpus")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--calls", type=int, default=300, help="of each kind, for trivium bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement with eight clients")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    # So that the services are stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("end_to_end: stopped"))
    report = measure(options, Corpus(options.corpus, options.chunks))
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
