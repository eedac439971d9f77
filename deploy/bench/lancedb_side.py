"""LanceDB's side of the comparison: a table in this process, searched through its Python library."""
import asyncio
import os
import threading
import time

# Otherwise every search prints a notice of a coming change, which costs time.
os.environ.setdefault("LANCEDB_LOG", "error")
os.environ.setdefault("LANCE_LOG", "error")

import lancedb
import pyarrow as pa
from lancedb.index import FTS, HnswSq, IvfFlat, IvfPq, IvfSq
from lancedb.rerankers import RRFReranker

from measure import latencies

# What may hold the vectors. Each has as many partitions as its own default gives unless said otherwise.
INDEXES = {
    "ivf_pq": lambda: IvfPq(distance_type="cosine"),
    "ivf_pq_96": lambda: IvfPq(distance_type="cosine", num_sub_vectors=96),
    "ivf_sq": lambda: IvfSq(distance_type="cosine"),
    "ivf_flat": lambda: IvfFlat(distance_type="cosine"),
    "ivf_hnsw_sq": lambda: HnswSq(distance_type="cosine"),
}
PROBES = [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256]
REFINES = [2, 4, 8, 16]
COLUMNS = ["id", "text"]


class LanceDb:
    """A table with a full-text index and a vector index, and searches in it."""

    name = "lancedb"

    def __init__(self, folder, queries, query_vectors, k):
        self.db = lancedb.connect(folder)
        self.folder, self.queries, self.query_vectors, self.k = folder, queries, query_vectors, k
        self.reranker = RRFReranker()
        self.probes, self.refine = PROBES[-1], REFINES[-1]

    def load(self, documents, vectors, index):
        """Fills the table and builds both indexes; gives the seconds of each."""
        started = time.monotonic()
        rows = pa.table({
            "id": [document["id"] for document in documents],
            "text": [document["text"] for document in documents],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
        })
        self.table = self.db.create_table("compare", rows, mode="overwrite")
        filled = time.monotonic()
        self.table.create_index("text", config=FTS())
        lexical = time.monotonic()
        self.table.create_index("vector", config=INDEXES[index]())
        # One fragment and a covered tail: what its manual advises before searching.
        self.table.optimize()
        return {"fill_s": filled - started, "lexical_s": lexical - filled, "vector_s": time.monotonic() - lexical}

    def semantic(self, query):
        return (
            self.table.search(self.query_vectors[query], vector_column_name="vector").distance_type("cosine")
            .nprobes(self.probes).refine_factor(self.refine).select(COLUMNS).limit(self.k).to_arrow()
        )

    def semantic_ids(self, query):
        return self.semantic(query)["id"].to_pylist()

    def hybrid(self, query):
        return self.hybrid_with(self.query_vectors[query], self.queries[query])

    def hybrid_with(self, vector, text):
        return (
            self.table.search(query_type="hybrid").vector(vector).text(text)
            .distance_type("cosine").nprobes(self.probes).refine_factor(self.refine).rerank(self.reranker)
            .select(COLUMNS).limit(self.k).to_arrow()
        )

    def hybrid_ids(self, query):
        return self.hybrid(query)["id"].to_pylist()

    def settings(self, recall, least, sample):
        """For each refinement the fewest probes whose recall over the first queries is `least` or more."""
        found = []
        probes = len(PROBES) - 1
        for self.refine in REFINES:
            # More refinement needs no more probes than less did, so the search goes on from there, downward.
            reached = self.reached(recall, PROBES[probes], sample)
            while reached >= least and probes > 0:
                fewer = self.reached(recall, PROBES[probes - 1], sample)
                if fewer < least:
                    break
                probes, reached = probes - 1, fewer
            if reached >= least:
                found.append({"nprobes": PROBES[probes], "refine_factor": self.refine, "recall": reached})
        return found

    def take(self, setting):
        self.probes, self.refine = setting["nprobes"], setting["refine_factor"]

    def fastest(self, settings, sample):
        """The setting whose searches by meaning are fastest at the median, which is taken."""
        def p50(setting):
            self.take(setting)
            seconds = sorted(latencies(self.semantic, sample))
            return seconds[len(seconds) // 2]

        best = min(settings, key=p50)
        self.take(best)
        return best

    def reached(self, recall, probes, sample):
        self.probes = probes
        return recall([self.semantic_ids(query) for query in range(sample)])


class AsyncLanceDb:
    """The same table through the asynchronous interface, on a loop in a thread of its own."""

    def __init__(self, side):
        self.side = side
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.table = asyncio.run_coroutine_threadsafe(self.open(), self.loop).result()

    async def open(self):
        return await (await lancedb.connect_async(self.side.folder)).open_table("compare")

    async def search(self, query):
        side = self.side
        hybrid = (
            self.table.query().nearest_to(side.query_vectors[query]).distance_type("cosine").nprobes(side.probes)
            .refine_factor(side.refine).select(COLUMNS).limit(side.k).nearest_to_text(side.queries[query])
        )
        return await hybrid.rerank(side.reranker).to_arrow()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def timed(self, queries):
        seconds = []
        for query in range(queries):
            started = time.perf_counter()
            await self.search(query)
            seconds.append(time.perf_counter() - started)
        return seconds

    def latencies(self, queries):
        return self.run(self.timed(queries))

    def throughput(self, queries, clients, seconds):
        async def client(number, end):
            made, query = 0, number * queries // clients
            while time.perf_counter() < end:
                await self.search(query % queries)
                query += 1
                made += 1
            return made

        async def all_clients():
            started = time.perf_counter()
            made = await asyncio.gather(*(client(number, started + seconds) for number in range(clients)))
            return sum(made) / (time.perf_counter() - started)

        return self.run(all_clients())

    def hybrid_ids(self, query):
        return self.run(self.search(query))["id"].to_pylist()
