"""Generates distinct short texts with questions about them, and embeds both with the model host.

    corpus.py --chunks 100000 --out DIR [--model-host HOST:PORT]

writes to DIR: documents.jsonl (id, topic, text), queries.jsonl (topic, text), queries.txt
(one query to a line), and, when a model host is named, vectors.npy and query_vectors.npy
(float32, one row of Euclidean length 1 for each text, in order) and embedder.json. The
texts depend on the seed alone. Embedding goes on where an interrupted run stopped.
"""
import argparse
import hashlib
import json
import random
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
BATCH = 128
# Rows between two records of the progress; a multiple of BATCH.
BLOCK = 16 * BATCH
IN_FLIGHT = 3
MONTHS = (
    "January February March April May June July August September October November December"
).split()
UNITS = ["minutes", "hours", "days", "weeks", "metres", "kilograms", "degrees", "percent"]
ADJECTIVES = (
    "old new small large spare second imported cheap borrowed repaired local northern southern "
    "temporary unused rented modern neglected first main"
).split()
ONSETS = "b br c d dr f g gr h k l m n p r s st t tr v w".split()
VOWELS = "a e i o u ai ea ou".split()
CODAS = "l n r s t m rd ld nt sk".split()
PLACE_ENDS = ["ford", "ham", "wick", "stead", "mouth", "by", "ton", "field"]
FIRST_NAMES = (
    "Ada Bruno Clara Dmitri Elena Farid Greta Hugo Ines Jonas Kofi Lena Marta Nils Olga Pavel "
    "Rosa Samir Tilda Uwe Vera Wanda Xenia Yusuf Zora"
).split()

# A statement names what a text is about; the words in braces are drawn for each text.
STATEMENTS = [
    "When {cause}, the {subject} {tells}; to prevent it, {remedy}.",
    "The {subject} in {place} {tells}, and {person} knows why: {cause}.",
    "{person} of {place} noted {n} times in {month} {year} that the {subject} {tells}.",
    "If the {subject} {tells}, {remedy}, then wait {n} {unit}.",
    "Case {code}: {cause}, so the {subject} {tells}.",
    "According to {person}, {cause} in {n} of {more} cases where the {subject} {tells}.",
    "Nobody in {place} expected it, but since {month} {year} the {subject} {tells}.",
    "{code} covers the {subject}: it {tells} if {cause}, at {n} {unit} or more.",
    "Before {month}, {remedy}, or else the {subject} {tells}.",
    "The {subject} {tells} after {n} {unit}; {person} would {remedy}.",
    "It was in {place} that {person} first saw how the {subject} {tells}.",
    "Since {cause}, the {subject} {tells}: {n} {unit} in {month} alone.",
]
# A question uses other words for the same event, and sometimes a name that only words find.
QUESTIONS = [
    "what to do about {asks} with the {subject}",
    "{subject}: reason for {asks}?",
    "why is there {asks} at the {subject} in {place}",
    "how did {person} explain {asks}",
    "does {code} say anything about {asks}",
    "{asks} in {month} {year}",
    "is it true that {cause} leads to {asks}",
    "who in {place} had trouble with the {subject}",
]


def invented_word(rng, syllables):
    return "".join(
        rng.choice(ONSETS) + rng.choice(VOWELS) + (rng.choice(CODAS) if rng.random() < 0.5 else "")
        for _ in range(syllables)
    )


def names(rng):
    """Places, people and codes that texts and questions share."""
    places = sorted({(invented_word(rng, 1) + rng.choice(PLACE_ENDS)).capitalize() for _ in range(400)})
    people = sorted({f"{rng.choice(FIRST_NAMES)} {invented_word(rng, 2).capitalize()}" for _ in range(600)})
    codes = sorted(
        {f"{invented_word(rng, 1).upper()}-{rng.randrange(100, 1000)}" for _ in range(1500)}
        | {f"ERR_{invented_word(rng, 1).upper()}_{rng.randrange(10, 100)}" for _ in range(500)}
    )
    return {"place": places, "person": people, "code": codes}


def draw(rng, topics, shared):
    """One set of words for a pattern; "tells" and "asks" are the same event."""
    topic = rng.choice(sorted(topics))
    words = topics[topic]
    event = rng.randrange(len(words["tells"]))
    n = rng.randrange(2, 400)
    subject = rng.choice(words["subjects"])
    return topic, {
        "subject": f"{rng.choice(ADJECTIVES)} {subject}" if rng.random() < 0.6 else subject,
        "tells": words["tells"][event],
        "asks": words["asks"][event],
        "cause": rng.choice(words["causes"]),
        "remedy": rng.choice(words["remedies"]),
        "place": rng.choice(shared["place"]),
        "person": rng.choice(shared["person"]),
        "code": rng.choice(shared["code"]),
        "month": rng.choice(MONTHS),
        "year": rng.randrange(1960, 2026),
        "unit": rng.choice(UNITS),
        "n": n,
        "more": n + rng.randrange(1, 300),
    }


def distinct(rng, topics, shared, patterns, count):
    """Texts of which no two are equal, each with its topic."""
    seen = set()
    attempts = 0
    while len(seen) < count:
        attempts += 1
        if attempts > 100 * count:
            sys.exit(f"corpus: the vocabulary gives fewer than {count} distinct texts")
        topic, words = draw(rng, topics, shared)
        text = rng.choice(patterns).format(**words)
        text = text[0].upper() + text[1:]
        if text not in seen:
            seen.add(text)
            yield topic, text


def generate(chunks, queries, seed):
    topics = tomllib.loads((HERE / "topics.toml").read_text(encoding="utf-8"))
    shared = names(random.Random(f"names {seed}"))
    texts = distinct(random.Random(f"texts {seed}"), topics, shared, STATEMENTS, chunks)
    questions = distinct(random.Random(f"queries {seed}"), topics, shared, QUESTIONS, queries)
    documents = [{"id": f"{topic}-{n:06}", "topic": topic, "text": text} for n, (topic, text) in enumerate(texts)]
    return documents, [{"topic": topic, "text": text} for topic, text in questions]


class Encoder:
    """The model host's Embed, on the bulk lane."""

    def __init__(self, address):
        import grpc
        import stubs

        stubs.load()
        from trivium.model.v1 import model_service_pb2 as pb, model_service_pb2_grpc as rpc

        self.pb = pb
        self.service = rpc.ModelServiceStub(grpc.insecure_channel(address))
        described = self.service.GetTokenizer(pb.GetTokenizerRequest(), timeout=60)
        self.model = {"name": described.model.name, "version": described.model.version}
        self.dimension = described.dimension

    def embed(self, texts):
        response = self.service.Embed(
            self.pb.EmbedRequest(texts=texts, priority=self.pb.EMBED_PRIORITY_BULK), timeout=600
        )
        return np.array([embedding.values for embedding in response.embeddings], dtype=np.float32)


def batches(texts, block):
    """The rows of one block in batches. Texts of like length go together: a batch is padded to its longest."""
    rows = sorted(range(block, min(block + BLOCK, len(texts))), key=lambda row: len(texts[row]))
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def embed_to(path, texts, encoder):
    """Fills the array at `path`; whole blocks that an earlier run made of the same texts are kept."""
    identity = hashlib.sha256(json.dumps([encoder.model, BLOCK, texts]).encode()).hexdigest()
    progress = path.with_suffix(".progress.json")
    done = 0
    if progress.exists() and path.exists():
        earlier = json.loads(progress.read_text())
        done = earlier["rows"] if earlier["identity"] == identity else 0
    if done:
        vectors = np.lib.format.open_memmap(path, mode="r+")
    else:
        vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(len(texts), encoder.dimension))
    started, first = time.monotonic(), done
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for block in range(done, len(texts), BLOCK):
            rows = batches(texts, block)
            for batch, embedded in zip(rows, pool.map(lambda batch: encoder.embed([texts[row] for row in batch]), rows)):
                vectors[batch] = embedded
            vectors.flush()
            done = min(block + BLOCK, len(texts))
            partial = progress.with_suffix(".partial")
            partial.write_text(json.dumps({"identity": identity, "rows": done}))
            partial.replace(progress)
            rate = (done - first) / (time.monotonic() - started)
            print(f"corpus: {path.name} {done} of {len(texts)}, {rate:.0f}/s", file=sys.stderr, flush=True)


def write_lines(path, rows):
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model-host", help="HOST:PORT of a running model host; none: only the texts are written")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    documents, queries = generate(options.chunks, options.queries, options.seed)
    write_lines(options.out / "documents.jsonl", (json.dumps(row) for row in documents))
    write_lines(options.out / "queries.jsonl", (json.dumps(row) for row in queries))
    write_lines(options.out / "queries.txt", (row["text"] for row in queries))
    if options.model_host:
        encoder = Encoder(options.model_host)
        (options.out / "embedder.json").write_text(json.dumps(encoder.model) + "\n")
        embed_to(options.out / "query_vectors.npy", [row["text"] for row in queries], encoder)
        embed_to(options.out / "vectors.npy", [row["text"] for row in documents], encoder)
    print(f"corpus: {len(documents)} texts and {len(queries)} queries in {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
