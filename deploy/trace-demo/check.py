"""Asserts the span tree of each question of the trace demo, as Phoenix gives it back.

Usage: check.py PHOENIX_URL FOLDER. The folder holds ROAD.json, the answer to the question of each road. Prints the trees to
stderr, and on stdout the address of the page that shows the hybrid road's trace.
"""

import json
import pathlib
import sys
import time
import urllib.error
import urllib.request

PROJECT = "trivium"
# Phoenix writes some hundred spans a second.
PATIENCE_S = 90

ROUTER = "trivium.router.v1.RouterService"
RETRIEVER = "trivium.retriever.v1.RetrieverService"
MODEL = "trivium.model.v1.ModelService"

ROADS = ["lexical", "semantic", "hybrid", "reply"]

# What Phoenix must show each span as.
KINDS = {
    "ask": "CHAIN",
    "query": "CHAIN",
    "classify": "CHAIN",
    "embeddings": "EMBEDDING",
    "tokenize": "CHAIN",
    "queue": "CHAIN",
    "forward": "CHAIN",
    "retrieval": "RETRIEVER",
    "search": "RETRIEVER",
    "fuse": "RERANKER",
    "rerank": "RERANKER",
    "chat": "LLM",
}


def paths(road):
    """The paths from the root that the trace of a road must have, as names."""
    query = f"ask > {ROUTER}/QueryStream > {ROUTER}/QueryStream > query {road}"
    analyze = f"{query} > {MODEL}/Analyze > {MODEL}/Analyze"
    wanted = [f"{analyze} > classify intents"]
    if road == "reply":
        return wanted
    retrieval = f"{query} > {RETRIEVER}/Search > {RETRIEVER}/Search > retrieval docs"
    chat = f"{query} > {MODEL}/Generate > {MODEL}/Generate > chat minilm"
    wanted += [f"{retrieval} > search docs", f"{chat} > forward"]
    wanted += [f"{analyze} > embeddings minilm > {step}" for step in ("tokenize", "queue", "forward")]
    if road != "lexical":
        # The second stage reads token vectors, which a search by words alone has no use for.
        wanted.append(f"{retrieval} > rerank late_interaction")
    if road == "hybrid":
        wanted.append(f"{retrieval} > fuse convex")
    return wanted


def get(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


def spans_of(base, trace):
    """All spans of one trace."""
    found, cursor = [], None
    while True:
        url = f"{base}/v1/projects/{PROJECT}/spans?limit=500&trace_id={trace}" + (f"&cursor={cursor}" if cursor else "")
        try:
            page = get(url)
        except urllib.error.HTTPError as error:
            # The project is there once its first span is.
            if error.code == 404:
                return []
            raise
        found += [span for span in page["data"] if span["context"]["trace_id"] == trace]
        cursor = page.get("next_cursor")
        if not cursor:
            return found


def path_of(span, by_id):
    names = [span["name"]]
    while span := by_id.get(span.get("parent_id")):
        names.append(span["name"])
    return " > ".join(reversed(names))


def settled(base, trace, road):
    """The spans of a trace once all that must be there have arrived."""
    until = time.monotonic() + PATIENCE_S
    while True:
        spans = spans_of(base, trace)
        by_id = {span["context"]["span_id"]: span for span in spans}
        have = {path_of(span, by_id) for span in spans}
        missing = [path for path in paths(road) if path not in have]
        if not missing:
            return spans, by_id
        if time.monotonic() > until:
            sys.exit(f"trace-demo: the trace of the {road} road has no\n  {missing[0]}\nbut only\n  " + "\n  ".join(sorted(have)))
        time.sleep(1)


def attribute(span, name):
    """An attribute, whether Phoenix gives it flat or nested."""
    value = span["attributes"]
    if name in value:
        return value[name]
    for part in name.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return None
    return value


def expect(condition, what, span):
    if not condition:
        sys.exit(f"trace-demo: {what}:\n{json.dumps(span, indent=2)}")


def check(road, answer, spans, by_id):
    """Asserts kinds, parents and attributes; gives the road's `retrieval` span, if it has one."""
    retrieval = None
    roots = [span for span in spans if span.get("parent_id") not in by_id]
    expect(len(roots) == 1, f"the trace of the {road} road has {len(roots)} roots", roots)
    for span in spans:
        word = span["name"].split()[0]
        expect(span["span_kind"] == KINDS.get(word, "CHAIN"), "a span is of another kind", span)
        if word == "query":
            for name, value in [
                ("trivium.route.name", road),
                ("trivium.route.reason", answer["reason"].lower()),
                ("trivium.intent.label", answer["intent"]),
                ("trivium.intent.confidence", answer["confidence"]),
                ("trivium.degraded", False),
            ]:
                found = attribute(span, name)
                expect(found == value, f"{name} is {found!r} and not {value!r}", span)
            expect(attribute(span, "trivium.intent.runners_up.labels"), "the runners-up are missing", span)
            expect(attribute(span, "trivium.route.threshold") is not None, "the threshold is missing", span)
        if word == "rerank":
            scored = attribute(span, "trivium.rerank.scored")
            expect(scored and scored == attribute(span, "trivium.rerank.candidates"), "not all candidates were scored", span)
        if word == "retrieval":
            retrieval = span
            for place, passage in enumerate(answer["passages"]):
                found = attribute(span, f"retrieval.documents.{place}.document.id")
                expect(found == passage["chunk_id"], f"document {place} is {found!r}, and not {passage['chunk_id']!r}", span)
                score = attribute(span, f"retrieval.documents.{place}.document.score")
                expect(score is not None, f"document {place} has no score", span)
    return retrieval


def show(span, spans, depth=0):
    ms = 1000 * (seconds(span["end_time"]) - seconds(span["start_time"]))
    print(f"  {'  ' * depth}{span['name']}  [{span['span_kind']}]  {ms:.1f} ms", file=sys.stderr)
    children = [child for child in spans if child.get("parent_id") == span["context"]["span_id"]]
    for child in sorted(children, key=lambda child: child["start_time"]):
        show(child, spans, depth + 1)


def seconds(time_text):
    import datetime

    return datetime.datetime.fromisoformat(time_text.replace("Z", "+00:00")).timestamp()


def main():
    base, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    page, total = None, 0
    for road in ROADS:
        answer = json.loads((folder / f"{road}.json").read_text())
        if answer["route"] != road:
            sys.exit(f"trace-demo: the question for the {road} road took the road {answer['route']}")
        spans, by_id = settled(base, answer["trace_id"], road)
        retrieval = check(road, answer, spans, by_id)
        total += len(spans)
        root = next(span for span in spans if span.get("parent_id") not in by_id)
        print(f"\n{road}: {len(spans)} spans", file=sys.stderr)
        show(root, spans)
        if road == "hybrid":
            project = get(f"{base}/v1/projects/{PROJECT}")["data"]["id"]
            page = f"{base}/projects/{project}/traces/{answer['trace_id']}?selectedSpanNodeId={retrieval['id']}"
    print(f"\n{total} spans of {len(ROADS)} traces are as they should be, none of an unknown kind", file=sys.stderr)
    print(page)


main()
