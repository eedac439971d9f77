"""Compares hybrid search of Trivium and of LanceDB's Python library on the same rows.

    compare.py prepare --corpus DIR --work DIR --trivium BINARY
    compare.py measure --corpus DIR --work DIR --trivium BINARY [--json FILE]

`prepare` fills a collection and a LanceDB table under the folder --work, and finds the settings
with which LanceDB has the recall that is asked for. `measure` takes the fastest of them, sends both
sides the same queries with the same vectors, taking turns, and prints one table. The corpus is made by corpus.py.
"""
import argparse
import contextlib
import importlib.metadata
import json
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np

import trivium_side
from lancedb_side import INDEXES, AsyncLanceDb, LanceDb
from measure import Exact, MemoryWatch, latencies, percentiles, resident_bytes, throughput
from trivium_side import Process, Trivium

K = 10
CLIENTS = 8
TUNING_QUERIES = 100


def read_lines(path, most=None):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for _, line in zip(range(most or sys.maxsize), lines)]


class Corpus:
    """What corpus.py wrote, or its first rows."""

    def __init__(self, folder, chunks):
        self.documents = read_lines(folder / "documents.jsonl", chunks)
        self.queries = [row["text"] for row in read_lines(folder / "queries.jsonl")]
        self.queries_file = folder / "queries.txt"
        self.embedder = json.loads((folder / "embedder.json").read_text())
        # Read whole: a mapped file would be read from the disk while searches are timed.
        self.vectors = np.ascontiguousarray(np.load(folder / "vectors.npy", mmap_mode="r")[: len(self.documents)])
        self.query_vectors = np.load(folder / "query_vectors.npy")
        lengths = np.linalg.norm(self.vectors, axis=1)
        if np.abs(lengths - 1).max() > 1e-3:
            sys.exit(f"compare: {folder / 'vectors.npy'} is not complete; run corpus.py again")
        self.row_of = {document["id"]: row for row, document in enumerate(self.documents)}

    def rows(self, ids):
        return [self.row_of[id] for id in ids]


@contextlib.contextmanager
def services(binary, work):
    """A model host, which tells the retriever how to count tokens, and the retriever."""
    host = Process(binary, "model-host", work / "model-host.log")
    try:
        endpoint = {"TRIVIUM_RETRIEVER__MODEL_HOST__ENDPOINT": f"http://{host.address}"}
        retriever = Process(
            binary, "retriever", work / "retriever.log", "--data", str(work / "trivium"), environment=endpoint
        )
        try:
            yield host, retriever
        finally:
            retriever.stop()
    finally:
        host.stop()


def sides(corpus, work, retriever):
    texts = (corpus.queries, corpus.query_vectors, K)
    return Trivium(retriever.address, corpus.embedder, *texts), LanceDb(str(work / "lancedb"), *texts)


def recall_of(corpus, exact, side):
    return exact.recall([corpus.rows(side.semantic_ids(query)) for query in range(len(corpus.queries))])


def prepare(options, corpus):
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    exact = Exact(corpus.vectors, corpus.query_vectors, K)
    recall = lambda found: exact.recall([corpus.rows(ids) for ids in found])
    with services(options.trivium, options.work) as (_, retriever):
        trivium, lance = sides(corpus, options.work, retriever)
        started = time.monotonic()
        trivium.load(corpus.documents, corpus.vectors)
        print(f"compare: trivium filled in {time.monotonic() - started:.1f} s", file=sys.stderr)
        loaded = lance.load(corpus.documents, corpus.vectors, options.index)
        print(f"compare: lancedb filled {json.dumps(loaded)}", file=sys.stderr, flush=True)
        settings = lance.settings(recall, options.recall, min(TUNING_QUERIES, len(corpus.queries)))
    print(f"compare: lancedb {json.dumps(settings)}", file=sys.stderr)
    if not settings:
        sys.exit(f"compare: {options.index} of lancedb does not reach a recall of {options.recall}")
    (options.work / "lancedb.json").write_text(json.dumps({"index": options.index, "settings": settings}) + "\n")


def measure(options, corpus):
    exact = Exact(corpus.vectors, corpus.query_vectors, K)
    prepared = json.loads((options.work / "lancedb.json").read_text())
    with services(options.trivium, options.work) as (host, retriever):
        trivium, lance = sides(corpus, options.work, retriever)
        lance.table = lance.db.open_table("compare")
        counts = {"trivium": trivium.describe().chunks, "lancedb": lance.table.count_rows()}
        if set(counts.values()) != {len(corpus.documents)}:
            sys.exit(f"compare: the sides hold {counts}, the corpus {len(corpus.documents)}; run prepare again")
        sample = min(TUNING_QUERIES, len(corpus.queries))
        # The first time reads the index from the disk.
        lance.fastest(prepared["settings"], sample)
        best = {"index": prepared["index"], **lance.fastest(prepared["settings"], sample)}
        report = {
            "chunks": len(corpus.documents), "queries": len(corpus.queries), "k": K,
            "lancedb_version": importlib.metadata.version("lancedb"), "lancedb": best,
            # This is the warm-up too.
            "recall": {side.name: recall_of(corpus, exact, side) for side in (trivium, lance)},
        }
        report["resident_at_rest"] = resident_bytes(retriever.pid)
        with MemoryWatch(retriever.pid) as memory:
            report["sides"] = take_turns(options, corpus, trivium, lance, host, retriever)
        report["resident_under_load"] = memory.most
        return report


def take_turns(options, corpus, trivium, lance, host, retriever):
    """Every side in every round, in an order that turns round by round."""
    queries = len(corpus.queries)
    asynchronous = AsyncLanceDb(lance)
    for query in range(queries):
        trivium.hybrid(query), lance.hybrid(query), asynchronous.hybrid_ids(query)
    one = {
        "trivium (python client)": lambda: latencies(trivium.hybrid, queries),
        "lancedb": lambda: latencies(lance.hybrid, queries),
        "lancedb (async)": lambda: asynchronous.latencies(queries),
    }
    many = {
        "trivium (python client)": lambda: throughput(trivium.hybrid, queries, CLIENTS, options.seconds),
        "lancedb": lambda: throughput(lance.hybrid, queries, CLIENTS, options.seconds),
        "lancedb (async)": lambda: asynchronous.throughput(queries, CLIENTS, options.seconds),
    }
    seconds, rates = {name: [] for name in one}, {name: [] for name in many}
    benches = []
    for turn in range(options.rounds):
        order = list(one) if turn % 2 == 0 else list(reversed(one))
        for name in order:
            seconds[name] += one[name]()
        if options.bench:
            calls = (options.trivium, retriever.address, host.address, corpus.queries_file, queries)
            benches.append(trivium_side.bench(*calls))
        for name in order:
            rates[name].append(many[name]())
        print(f"compare: round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
    rows = {name: {**percentiles(seconds[name]), "per_second": float(np.median(rates[name]))} for name in one}
    if benches:
        rows = {"trivium (bench search)": of_benches(benches), **rows}
    return rows


def of_benches(benches):
    """The median over the rounds of each figure."""
    median = lambda clients, field: float(np.median([bench[clients][field] for bench in benches]))
    row = {field: median(1, field) for field in ("p50_ms", "p95_ms", "p99_ms")}
    return {**row, "per_second": median(CLIENTS, "per_second")}


def show(report):
    lance = report["lancedb"]
    mebibytes = lambda count: f"{count / 2**20:.0f} MiB"
    print(f"{report['chunks']} chunks, {report['queries']} queries, k = {report['k']}, hybrid")
    print(
        f"lancedb {report['lancedb_version']}: {lance['index']}, nprobes {lance['nprobes']}, "
        f"refine factor {lance['refine_factor']}, RRF"
    )
    print("recall@10 of the semantic leg: " + ", ".join(f"{n} {r:.4f}" for n, r in report["recall"].items()))
    print(
        f"resident memory of the retriever: {mebibytes(report['resident_at_rest']['all'])} at rest, "
        f"{mebibytes(report['resident_under_load'])} under load"
    )
    print(f"\n{'':26}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{f'{CLIENTS} clients/s':>14}")
    for name, row in report["sides"].items():
        print(f"{name:26}{row['p50_ms']:9.2f}{row['p95_ms']:9.2f}{row['p99_ms']:9.2f}{row['per_second']:14.0f}")
    fastest = lambda prefix: min(row["p50_ms"] for name, row in report["sides"].items() if name.startswith(prefix))
    print(f"\nat p50 trivium takes 1/{fastest('lancedb') / fastest('trivium'):.1f} of lancedb's time")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["prepare", "measure"])
    parser.add_argument("--corpus", type=Path, required=True, help="folder that corpus.py wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder of both indexes; prepare empties it")
    parser.add_argument("--trivium", required=True, help="the binary")
    parser.add_argument("--chunks", type=int, help="only the first rows of the corpus")
    parser.add_argument("--index", choices=sorted(INDEXES), default="ivf_pq", help="lancedb's")
    parser.add_argument("--recall", type=float, default=0.98, help="least recall@10 of lancedb's semantic leg")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement with eight clients")
    parser.add_argument("--no-bench", dest="bench", action="store_false", help="without `trivium bench search`")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    # So that the services are stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("compare: stopped"))
    corpus = Corpus(options.corpus, options.chunks)
    if options.step == "prepare":
        prepare(options, corpus)
        return
    report = measure(options, corpus)
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
