"""The usual Python stack: semantic-router decides, sentence-transformers embeds, LanceDB searches. All in this process."""
import json
import os

# Its progress bars would be drawn for every query, and it would look for newer weights.
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from semantic_router import IndexedRouter, Route
from semantic_router.encoders.local import LocalEncoder
from sentence_transformers import SentenceTransformer


class PythonStack:
    """Route, embed, search: what an application does by hand."""

    def __init__(self, weights, intents, lance):
        self.model, self.lance = SentenceTransformer(str(weights), device="cpu"), lance
        utterances = {}
        with open(intents, encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                utterances.setdefault(row["label"], []).append(row["text"])
        routes = [Route(name=label, utterances=texts) for label, texts in sorted(utterances.items())]
        self.router = IndexedRouter(encoder=LocalEncoder(name=str(weights), device="cpu"), routes=routes)

    def route(self, text):
        return self.router(text).name

    def embed(self, text):
        return self.model.encode(text, normalize_embeddings=True, show_progress_bar=False)

    def ask(self, query):
        """One question from its text to its passages."""
        text = self.lance.queries[query]
        self.route(text)
        return self.lance.hybrid_with(self.embed(text), text)
