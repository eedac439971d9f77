"""Trivium's side of the comparison: one retriever process, called through gRPC."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import grpc
import stubs

stubs.load()

from trivium.model.v1 import types_pb2 as model  # noqa: E402
from trivium.retriever.v1 import (  # noqa: E402
    collection_pb2 as collection,
    retriever_service_pb2 as retriever,
    retriever_service_pb2_grpc as rpc,
    search_pb2 as search,
)
from trivium.router.v1 import router_service_pb2 as router, router_service_pb2_grpc as router_rpc  # noqa: E402

COLLECTION = "compare"
BATCH = 512
LARGEST_MESSAGE = 64 << 20


class Process:
    """One service of the binary, listening on a free port, stopped at the end."""

    def __init__(self, binary, service, log, *arguments, environment=None):
        self.child = subprocess.Popen(
            [binary, "serve", service, "--addr", "127.0.0.1:0", *arguments],
            stdout=subprocess.PIPE, stderr=open(log, "wb"), env={**os.environ, **(environment or {})},
        )
        for line in self.child.stdout:
            if line.startswith(b"ready "):
                self.address = line.decode().split("=", 1)[1].split()[0]
                return
        sys.exit(f"compare: the {service} did not start, see {log}")

    @property
    def pid(self):
        return self.child.pid

    def stop(self):
        self.child.terminate()
        self.child.wait(30)


class Trivium:
    """A collection of one chunk for each text, and searches in it."""

    name = "trivium"

    def __init__(self, address, embedder, queries, query_vectors, k):
        options = [("grpc.max_receive_message_length", LARGEST_MESSAGE)]
        self.service = rpc.RetrieverServiceStub(grpc.insecure_channel(address, options))
        self.embedder = model.ModelRef(**embedder)
        self.hybrid_requests = self.requests(queries, query_vectors, k, [search.LEG_LEXICAL, search.LEG_SEMANTIC])
        self.semantic_requests = self.requests(queries, query_vectors, k, [search.LEG_SEMANTIC])

    def requests(self, queries, query_vectors, k, legs):
        return [
            search.SearchRequest(
                collection=COLLECTION, query=text, k=k, legs=legs,
                vectors=[model.QueryVector(embedder=self.embedder, values=vector.tolist())],
            )
            for text, vector in zip(queries, query_vectors)
        ]

    def load(self, documents, vectors):
        """Creates the collection, if it is not there, and fills it."""
        self.service.CreateCollection(
            retriever.CreateCollectionRequest(name=COLLECTION, embedder=self.embedder, if_absent=True), timeout=60
        )
        done = 0
        for acknowledged in self.service.UpsertDocuments(self.batches(documents, vectors), timeout=3600):
            done += BATCH
            if done % (20 * BATCH) == 0:
                print(f"compare: trivium holds {done} documents", file=sys.stderr, flush=True)
        chunks = self.describe().chunks
        if chunks != len(documents):
            sys.exit(f"compare: {len(documents)} documents became {chunks} chunks in trivium")

    def batches(self, documents, vectors):
        for start in range(0, len(documents), BATCH):
            end = min(start + BATCH, len(documents))
            yield retriever.UpsertDocumentsRequest(
                collection=COLLECTION, batch_id=str(start),
                documents=[
                    collection.Document(
                        id=documents[row]["id"], text=documents[row]["text"],
                        vector=model.QueryVector(embedder=self.embedder, values=vectors[row].tolist()),
                    )
                    for row in range(start, end)
                ],
            )

    def describe(self):
        return self.service.GetCollection(retriever.GetCollectionRequest(name=COLLECTION), timeout=60).collection

    def hybrid(self, query):
        return self.service.Search(self.hybrid_requests[query], timeout=60)

    def hybrid_ids(self, query):
        return [hit.document_id for hit in self.hybrid(query).hits]

    def semantic_ids(self, query):
        return [hit.document_id for hit in self.service.Search(self.semantic_requests[query], timeout=60).hits]


class TriviumQuery:
    """Whole queries without an answer, through the router."""

    def __init__(self, address, queries, k):
        options = [("grpc.max_receive_message_length", LARGEST_MESSAGE)]
        self.service = router_rpc.RouterServiceStub(grpc.insecure_channel(address, options))
        wanted = router.QueryOptions(k=k, answer_mode=router.ANSWER_MODE_NONE, cache=router.CACHE_MODE_BYPASS)
        self.requests = [router.QueryRequest(query=text, options=wanted) for text in queries]

    def ask(self, query):
        return self.service.Query(self.requests[query], timeout=60)


def bench(binary, retriever_address, model_host_address, queries, calls):
    """Figures of `trivium bench search`, a client without the cost of Python."""
    arguments = [
        binary, "bench", "search", "--json", "--collection", COLLECTION, "--queries", str(queries),
        "--clients", "1,8", "--calls", str(calls), "--retriever-endpoint", f"http://{retriever_address}",
        "--model-host-endpoint", f"http://{model_host_address}",
    ]
    rows = json.loads(subprocess.run(arguments, check=True, stdout=subprocess.PIPE).stdout)
    return {row["clients"]: row for row in rows if row["name"] == "search_hybrid"}
