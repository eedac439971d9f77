"""Latencies, throughput, recall and memory: what is measured on either side in the same way."""
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

# Scores of equal vectors may differ in the last bits between two engines.
TIE = 1e-5


def percentiles(seconds):
    """The 50th, 95th and 99th percentile by the nearest rank, in milliseconds."""
    ordered = np.sort(np.asarray(seconds)) * 1_000
    return {f"p{p}_ms": float(ordered[int(np.ceil(p / 100 * len(ordered))) - 1]) for p in (50, 95, 99)}


def latencies(call, queries):
    """Seconds of one call for each query, one after the other."""
    seconds = []
    for query in range(queries):
        started = time.perf_counter()
        call(query)
        seconds.append(time.perf_counter() - started)
    return seconds


def throughput(call, queries, clients, seconds):
    """Calls per second of several threads, each with one call after the other."""
    end = time.perf_counter() + seconds

    def client(number):
        made, query = 0, number * queries // clients
        while time.perf_counter() < end:
            call(query % queries)
            query += 1
            made += 1
        return made

    with ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        made = sum(pool.map(client, range(clients)))
        return made / (time.perf_counter() - started)


class Exact:
    """The true neighbours: all products of queries and rows."""

    def __init__(self, vectors, query_vectors, k):
        self.vectors, self.query_vectors, self.k = vectors, query_vectors, k
        products = query_vectors @ vectors.T
        # The score that a hit must reach to be among the best k. Rows that tie with the k-th count.
        self.least = np.partition(products, -k, axis=1)[:, -k]

    def recall(self, found):
        """The share of the best k that was found, over all queries. `found` holds rows of each query."""
        hits = 0
        for query, rows in enumerate(found):
            scores = self.vectors[list(set(rows))] @ self.query_vectors[query]
            hits += min(self.k, int((scores >= self.least[query] - TIE).sum()))
        return hits / (self.k * len(found))


def resident_bytes(pid):
    """Resident memory of a process: all of it, and the part that is no file's page."""
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status", encoding="ascii"))
    read = lambda name: int(fields[name].split()[0]) * 1024
    return {"all": read("VmRSS"), "anonymous": read("RssAnon") if "RssAnon" in fields else None}


class MemoryWatch:
    """The most resident memory of a process while the body of a `with` runs."""

    def __init__(self, pid):
        self.pid, self.most, self.over = pid, 0, threading.Event()

    def watch(self):
        while not self.over.wait(0.1):
            self.most = max(self.most, resident_bytes(self.pid)["all"])

    def __enter__(self):
        self.over.clear()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.over.set()
        self.thread.join()
