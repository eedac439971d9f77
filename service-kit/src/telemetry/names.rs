//! The names of the contract.
//!
//! Generated from `telemetry.toml` by `make telemetry`; not edited by hand.

/// What an instrument is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it counts.
    pub description: &'static str,
    /// Bounds of its buckets, for histograms.
    pub bounds: &'static [f64],
}

/// Keys of attributes.
pub mod attribute {
    /// Which cache.
    pub const CACHE: &str = "cache";
    /// Calls that fail together.
    pub const CLASS: &str = "class";
    /// The collection.
    pub const COLLECTION: &str = "collection";
    /// The collection.
    pub const DB_COLLECTION_NAME: &str = "db.collection.name";
    /// The operation.
    pub const DB_OPERATION_NAME: &str = "db.operation.name";
    /// Operation and collection.
    pub const DB_QUERY_SUMMARY: &str = "db.query.summary";
    /// Candidates that the leg gave.
    pub const DB_RESPONSE_RETURNED_ROWS: &str = "db.response.returned_rows";
    /// The engine of the leg.
    pub const DB_SYSTEM_NAME: &str = "db.system.name";
    /// The encoder, for OpenInference.
    pub const EMBEDDING_MODEL_NAME: &str = "embedding.model_name";
    /// The gRPC code of a failed call; the reason in the catalogue of errors everywhere else.
    pub const ERROR_TYPE: &str = "error.type";
    /// The collection.
    pub const GEN_AI_DATA_SOURCE_ID: &str = "gen_ai.data_source.id";
    /// Length of each vector.
    pub const GEN_AI_EMBEDDINGS_DIMENSION_COUNT: &str = "gen_ai.embeddings.dimension.count";
    /// The operation.
    pub const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
    /// Who runs the model: `trivium`, or what the generator's configuration says.
    pub const GEN_AI_PROVIDER_NAME: &str = "gen_ai.provider.name";
    /// The longest answer that was asked for.
    pub const GEN_AI_REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
    /// The model. On embedding and chat spans alone: dashboards count each span that has it as a model call.
    pub const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
    /// Whether the answer comes piece by piece.
    pub const GEN_AI_REQUEST_STREAM: &str = "gen_ai.request.stream";
    /// Why the answer ended: `stop`, `length`, `not_in_passages` or `content_filter`.
    pub const GEN_AI_RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
    /// Time to the first piece of the answer.
    pub const GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
    /// The query.
    pub const GEN_AI_RETRIEVAL_QUERY_TEXT: &str = "gen_ai.retrieval.query.text";
    /// Hits that were asked for.
    pub const GEN_AI_RETRIEVAL_TOP_K: &str = "gen_ai.retrieval.top_k";
    /// Read or written.
    pub const GEN_AI_TOKEN_TYPE: &str = "gen_ai.token.type";
    /// Tokens that the model read.
    pub const GEN_AI_USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    /// Tokens that the model wrote.
    pub const GEN_AI_USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    /// The text that the step was given.
    pub const INPUT_VALUE: &str = "input.value";
    /// The intent.
    pub const INTENT: &str = "intent";
    /// Tokens of texts, or those that fill up a batch.
    pub const KIND: &str = "kind";
    /// Where texts wait: queries go first.
    pub const LANE: &str = "lane";
    /// The language model, for OpenInference.
    pub const LLM_MODEL_NAME: &str = "llm.model_name";
    /// Tokens written, for OpenInference.
    pub const LLM_TOKEN_COUNT_COMPLETION: &str = "llm.token_count.completion";
    /// Tokens read, for OpenInference.
    pub const LLM_TOKEN_COUNT_PROMPT: &str = "llm.token_count.prompt";
    /// Both.
    pub const LLM_TOKEN_COUNT_TOTAL: &str = "llm.token_count.total";
    /// What OpenInference's dashboards show the span as.
    pub const OPENINFERENCE_SPAN_KIND: &str = "openinference.span.kind";
    /// How it ended.
    pub const OUTCOME: &str = "outcome";
    /// The text that the step gave.
    pub const OUTPUT_VALUE: &str = "output.value";
    /// What an answer does without.
    pub const PART: &str = "part";
    /// The service that is called.
    pub const PEER: &str = "peer";
    /// A name of the policy's reasons, or of the catalogue of errors.
    pub const REASON: &str = "reason";
    /// The re-ranking model, for OpenInference.
    pub const RERANKER_MODEL_NAME: &str = "reranker.model_name";
    /// Hits that remain, or that are put in a new order.
    pub const RERANKER_TOP_K: &str = "reranker.top_k";
    /// The road; `none` where a query failed before its decision.
    pub const ROAD: &str = "road";
    /// The method of the contract, for instance `trivium.router.v1.RouterService/Query`; `_OTHER` for any that the contract does not have.
    pub const RPC_METHOD: &str = "rpc.method";
    /// The gRPC code, for instance `OK` or `DEADLINE_EXCEEDED`.
    pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
    /// Which further attempt this is, from 1.
    pub const RPC_RETRY_ATTEMPT: &str = "rpc.retry.attempt";
    /// The protocol.
    pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
    /// The host that the channel was configured with.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// The port that the channel was configured with.
    pub const SERVER_PORT: &str = "server.port";
    /// State of a circuit breaker.
    pub const STATE: &str = "state";
    /// Id of the first batch that ran texts of the request. The batch's own span links to its members; dashboards that drop links find them by this id.
    pub const TRIVIUM_BATCH_ID: &str = "trivium.batch.id";
    /// Tokens of the batch, padding included.
    pub const TRIVIUM_BATCH_PADDED_TOKENS: &str = "trivium.batch.padded_tokens";
    /// Texts of the batch.
    pub const TRIVIUM_BATCH_TEXTS: &str = "trivium.batch.texts";
    /// Whether the answer was remembered. The span then links to the one that made it.
    pub const TRIVIUM_CACHE_HIT: &str = "trivium.cache.hit";
    /// Whether the model host remembered the analysis.
    pub const TRIVIUM_CACHED: &str = "trivium.cached";
    /// Whether a part was left out.
    pub const TRIVIUM_DEGRADED: &str = "trivium.degraded";
    /// Why one of several collections was left out.
    pub const TRIVIUM_DEGRADED_COLLECTION: &str = "trivium.degraded.collection";
    /// Why the query's vector was left out.
    pub const TRIVIUM_DEGRADED_EMBEDDING: &str = "trivium.degraded.embedding";
    /// Why the answer, or its end, was left out.
    pub const TRIVIUM_DEGRADED_GENERATOR: &str = "trivium.degraded.generator";
    /// Why the intent was left out: a reason of the catalogue.
    pub const TRIVIUM_DEGRADED_INTENT: &str = "trivium.degraded.intent";
    /// Why the lexical leg was left out.
    pub const TRIVIUM_DEGRADED_LEXICAL_LEG: &str = "trivium.degraded.lexical_leg";
    /// Why the second stage was left out.
    pub const TRIVIUM_DEGRADED_RERANK: &str = "trivium.degraded.rerank";
    /// Why all passages were left out.
    pub const TRIVIUM_DEGRADED_RETRIEVER: &str = "trivium.degraded.retriever";
    /// Why the semantic leg was left out.
    pub const TRIVIUM_DEGRADED_SEMANTIC_LEG: &str = "trivium.degraded.semantic_leg";
    /// Texts that were embedded together.
    pub const TRIVIUM_EMBEDDINGS_TEXTS: &str = "trivium.embeddings.texts";
    /// The filter.
    pub const TRIVIUM_FILTER_TEXT: &str = "trivium.filter.text";
    /// Whether the search had a filter.
    pub const TRIVIUM_FILTER_USED: &str = "trivium.filter.used";
    /// The constant of reciprocal rank fusion.
    pub const TRIVIUM_FUSION_K: &str = "trivium.fusion.k";
    /// How the legs became one ranking.
    pub const TRIVIUM_FUSION_METHOD: &str = "trivium.fusion.method";
    /// The generator, as the configuration names it.
    pub const TRIVIUM_GENERATOR: &str = "trivium.generator";
    /// Hits that were given.
    pub const TRIVIUM_HITS: &str = "trivium.hits";
    /// Version of the published pair that was read.
    pub const TRIVIUM_INDEX_VERSION: &str = "trivium.index.version";
    /// Its calibrated probability, 0 to 1.
    pub const TRIVIUM_INTENT_CONFIDENCE: &str = "trivium.intent.confidence";
    /// The intent that the model found likeliest.
    pub const TRIVIUM_INTENT_LABEL: &str = "trivium.intent.label";
    /// What it has over the runner-up, 0 to 1.
    pub const TRIVIUM_INTENT_MARGIN: &str = "trivium.intent.margin";
    /// The intent model.
    pub const TRIVIUM_INTENT_MODEL_NAME: &str = "trivium.intent.model.name";
    /// Its version.
    pub const TRIVIUM_INTENT_MODEL_VERSION: &str = "trivium.intent.model.version";
    /// Their calibrated probabilities, in that order.
    pub const TRIVIUM_INTENT_RUNNERS_UP_CONFIDENCES: &str = "trivium.intent.runners_up.confidences";
    /// The next intents, likeliest first.
    pub const TRIVIUM_INTENT_RUNNERS_UP_LABELS: &str = "trivium.intent.runners_up.labels";
    /// Kind of the model.
    pub const TRIVIUM_MODEL_KIND: &str = "trivium.model.kind";
    /// The model.
    pub const TRIVIUM_MODEL_NAME: &str = "trivium.model.name";
    /// Version of the model.
    pub const TRIVIUM_MODEL_VERSION: &str = "trivium.model.version";
    /// The policy: the first 16 hexadecimal digits of its text's SHA-256.
    pub const TRIVIUM_POLICY_VERSION: &str = "trivium.policy.version";
    /// The request's id: the caller's, or one made by the router.
    pub const TRIVIUM_REQUEST_ID: &str = "trivium.request.id";
    /// Candidates that went in.
    pub const TRIVIUM_RERANK_CANDIDATES: &str = "trivium.rerank.candidates";
    /// Documents that were scored.
    pub const TRIVIUM_RERANK_DOCUMENTS: &str = "trivium.rerank.documents";
    /// How the second stage scores candidates.
    pub const TRIVIUM_RERANK_METHOD: &str = "trivium.rerank.method";
    /// Those of them that have a score.
    pub const TRIVIUM_RERANK_SCORED: &str = "trivium.rerank.scored";
    /// The leg.
    pub const TRIVIUM_RETRIEVAL_LEG: &str = "trivium.retrieval.leg";
    /// The guard of the policy that settled the road.
    pub const TRIVIUM_ROUTE_GUARD: &str = "trivium.route.guard";
    /// The road.
    pub const TRIVIUM_ROUTE_NAME: &str = "trivium.route.name";
    /// The rule that chose the road.
    pub const TRIVIUM_ROUTE_REASON: &str = "trivium.route.reason";
    /// The confidence that was asked for, 0 to 1.
    pub const TRIVIUM_ROUTE_THRESHOLD: &str = "trivium.route.threshold";
    /// Weight of the lexical leg in an unsure decision, 0 to 1.
    pub const TRIVIUM_ROUTE_WEIGHT_LEXICAL: &str = "trivium.route.weight.lexical";
    /// Weight of the collection's own blend in an unsure decision, 0 to 1.
    pub const TRIVIUM_ROUTE_WEIGHT_OWN: &str = "trivium.route.weight.own";
    /// Weight of the semantic leg in an unsure decision, 0 to 1.
    pub const TRIVIUM_ROUTE_WEIGHT_SEMANTIC: &str = "trivium.route.weight.semantic";
}

/// Names of spans, as the code has them.
pub mod span {
    /// One batch with texts of several requests: a trace of its own, linked to each of them.
    pub const BATCH: &str = "batch";
    /// An answer is written. A CLIENT span where another process runs the model.
    pub const CHAT: &str = "chat";
    /// The intent model decides on one query.
    pub const CLASSIFY: &str = "classify";
    /// One command of the command line.
    pub const COMMAND: &str = "command";
    /// The writer of a collection looks whether small fragments are to be merged, and merges them.
    pub const COMPACT: &str = "compact";
    /// Texts become vectors.
    pub const EMBEDDINGS: &str = "embeddings";
    /// The batches of a request run, until its last text is done.
    pub const FORWARD: &str = "forward";
    /// Two legs become one ranking.
    pub const FUSE: &str = "fuse";
    /// One attempt at a call of another service, streams to their end.
    pub const GRPC_CLIENT: &str = "grpc.client";
    /// A call that a service answers, streams to their end.
    pub const GRPC_SERVER: &str = "grpc.server";
    /// The index of the vectors of a collection is built or extended, from its beginning to the version that has it.
    pub const INDEX_VECTORS: &str = "index vectors";
    /// One leg of a search.
    pub const LEG: &str = "leg";
    /// One query, from its decision to its answer: this span alone tells which road it took and why.
    pub const QUERY: &str = "query";
    /// A request waits for an engine, until its first text runs.
    pub const QUEUE: &str = "queue";
    /// A cross-encoder scores documents for a query.
    pub const RERANK: &str = "rerank";
    /// One search of one collection.
    pub const RETRIEVAL: &str = "retrieval";
    /// One decision alone.
    pub const ROUTE: &str = "route";
    /// The first candidates are put in a new order.
    pub const SECOND_STAGE: &str = "second_stage";
    /// Texts become tokens.
    pub const TOKENIZE: &str = "tokenize";
}

/// Metrics.
pub mod metric {
    use super::Metric;

    /// Each leg of a search, without the making of the query's vector.
    pub const DB_CLIENT_OPERATION_DURATION: Metric = Metric {
        name: "db.client.operation.duration",
        unit: "s",
        description: "Each leg of a search, without the making of the query's vector",
        bounds: &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0],
    };
    /// Answers and embeddings, to their end.
    pub const GEN_AI_CLIENT_OPERATION_DURATION: Metric = Metric {
        name: "gen_ai.client.operation.duration",
        unit: "s",
        description: "Answers and embeddings, to their end",
        bounds: &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
    };
    /// Tokens of each answer and embedding, where they are counted.
    pub const GEN_AI_CLIENT_TOKEN_USAGE: Metric = Metric {
        name: "gen_ai.client.token.usage",
        unit: "{token}",
        description: "Tokens of each answer and embedding, where they are counted",
        bounds: &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0],
    };
    /// Time to the first piece of an answer.
    pub const GEN_AI_SERVER_TIME_TO_FIRST_TOKEN: Metric = Metric {
        name: "gen_ai.server.time_to_first_token",
        unit: "s",
        description: "Time to the first piece of an answer",
        bounds: &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
    };
    /// Each attempt at a call of another service: a hop.
    pub const RPC_CLIENT_CALL_DURATION: Metric = Metric {
        name: "rpc.client.call.duration",
        unit: "s",
        description: "Each attempt at a call of another service: a hop",
        bounds: &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
    };
    /// Calls that a service answered, streams to their end.
    pub const RPC_SERVER_CALL_DURATION: Metric = Metric {
        name: "rpc.server.call.duration",
        unit: "s",
        description: "Calls that a service answered, streams to their end",
        bounds: &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
    };
    /// Look-ups in a cache: of answers in the router, of analyses in the model host.
    pub const TRIVIUM_CACHE_LOOKUPS: Metric = Metric {
        name: "trivium.cache.lookups",
        unit: "{lookup}",
        description: "Look-ups in a cache: of answers in the router, of analyses in the model host",
        bounds: &[],
    };
    /// Changes of circuit breakers.
    pub const TRIVIUM_CLIENT_BREAKER_CHANGES: Metric = Metric {
        name: "trivium.client.breaker.changes",
        unit: "{change}",
        description: "Changes of circuit breakers",
        bounds: &[],
    };
    /// 1 while a peer is left alone, but for probes.
    pub const TRIVIUM_CLIENT_BREAKER_OPEN: Metric = Metric {
        name: "trivium.client.breaker.open",
        unit: "1",
        description: "1 while a peer is left alone, but for probes",
        bounds: &[],
    };
    /// Further attempts at calls of another service.
    pub const TRIVIUM_CLIENT_RETRIES: Metric = Metric {
        name: "trivium.client.retries",
        unit: "{attempt}",
        description: "Further attempts at calls of another service",
        bounds: &[],
    };
    /// Forward passes of a batch, pooling included.
    pub const TRIVIUM_MODEL_BATCH_DURATION: Metric = Metric {
        name: "trivium.model.batch.duration",
        unit: "s",
        description: "Forward passes of a batch, pooling included",
        bounds: &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
    };
    /// Texts of a batch.
    pub const TRIVIUM_MODEL_BATCH_TEXTS: Metric = Metric {
        name: "trivium.model.batch.texts",
        unit: "{text}",
        description: "Texts of a batch",
        bounds: &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0],
    };
    /// 1 for each version in memory.
    pub const TRIVIUM_MODEL_INFO: Metric = Metric {
        name: "trivium.model.info",
        unit: "1",
        description: "1 for each version in memory",
        bounds: &[],
    };
    /// How long the oldest of them has waited; 0 where none waits.
    pub const TRIVIUM_MODEL_QUEUE_AGE: Metric = Metric {
        name: "trivium.model.queue.age",
        unit: "s",
        description: "How long the oldest of them has waited; 0 where none waits",
        bounds: &[],
    };
    /// Texts that wait for an engine.
    pub const TRIVIUM_MODEL_QUEUE_TEXTS: Metric = Metric {
        name: "trivium.model.queue.texts",
        unit: "{text}",
        description: "Texts that wait for an engine",
        bounds: &[],
    };
    /// Time from a text's coming to the start of its batch.
    pub const TRIVIUM_MODEL_QUEUE_WAIT: Metric = Metric {
        name: "trivium.model.queue.wait",
        unit: "s",
        description: "Time from a text's coming to the start of its batch",
        bounds: &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
    };
    /// Texts by what became of them.
    pub const TRIVIUM_MODEL_TEXTS: Metric = Metric {
        name: "trivium.model.texts",
        unit: "{text}",
        description: "Texts by what became of them",
        bounds: &[],
    };
    /// Tokens that went through an engine.
    pub const TRIVIUM_MODEL_TOKENS: Metric = Metric {
        name: "trivium.model.tokens",
        unit: "{token}",
        description: "Tokens that went through an engine",
        bounds: &[],
    };
    /// Rows of the published state.
    pub const TRIVIUM_RETRIEVER_CHUNKS: Metric = Metric {
        name: "trivium.retriever.chunks",
        unit: "{row}",
        description: "Rows of the published state",
        bounds: &[],
    };
    /// Commits of a collection, from their first request to their publication.
    pub const TRIVIUM_RETRIEVER_COMMIT_DURATION: Metric = Metric {
        name: "trivium.retriever.commit.duration",
        unit: "s",
        description: "Commits of a collection, from their first request to their publication",
        bounds: &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
    };
    /// Merges of a table's small fragments, for which writes wait.
    pub const TRIVIUM_RETRIEVER_COMPACTION_DURATION: Metric = Metric {
        name: "trivium.retriever.compaction.duration",
        unit: "s",
        description: "Merges of a table's small fragments, for which writes wait",
        bounds: &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
    };
    /// Rows that those merges rewrote.
    pub const TRIVIUM_RETRIEVER_COMPACTION_ROWS: Metric = Metric {
        name: "trivium.retriever.compaction.rows",
        unit: "{row}",
        description: "Rows that those merges rewrote",
        bounds: &[],
    };
    /// Fragments of the published table.
    pub const TRIVIUM_RETRIEVER_FRAGMENTS: Metric = Metric {
        name: "trivium.retriever.fragments",
        unit: "{fragment}",
        description: "Fragments of the published table",
        bounds: &[],
    };
    /// How long the oldest write has waited that no search sees yet; 0 where none waits.
    pub const TRIVIUM_RETRIEVER_SNAPSHOT_LAG: Metric = Metric {
        name: "trivium.retriever.snapshot.lag",
        unit: "s",
        description: "How long the oldest write has waited that no search sees yet; 0 where none waits",
        bounds: &[],
    };
    /// Rows whose vectors are neither in memory nor in an index, so that each search by meaning reads all of them.
    pub const TRIVIUM_RETRIEVER_UNINDEXED_ROWS: Metric = Metric {
        name: "trivium.retriever.unindexed_rows",
        unit: "{row}",
        description: "Rows whose vectors are neither in memory nor in an index, so that each search by meaning reads all of them",
        bounds: &[],
    };
    /// Writes that were accepted and that no search sees yet.
    pub const TRIVIUM_RETRIEVER_WRITE_QUEUE_REQUESTS: Metric = Metric {
        name: "trivium.retriever.write_queue.requests",
        unit: "{request}",
        description: "Writes that were accepted and that no search sees yet",
        bounds: &[],
    };
    /// Queries, from their beginning to the last event of their answer.
    pub const TRIVIUM_ROUTER_ANSWER_DURATION: Metric = Metric {
        name: "trivium.router.answer.duration",
        unit: "s",
        description: "Queries, from their beginning to the last event of their answer",
        bounds: &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
    };
    /// Records of calls that the audit log lost.
    pub const TRIVIUM_ROUTER_AUDIT_LOST: Metric = Metric {
        name: "trivium.router.audit.lost",
        unit: "{record}",
        description: "Records of calls that the audit log lost",
        bounds: &[],
    };
    /// Calibrated confidence in the likeliest intent.
    pub const TRIVIUM_ROUTER_CONFIDENCE: Metric = Metric {
        name: "trivium.router.confidence",
        unit: "1",
        description: "Calibrated confidence in the likeliest intent",
        bounds: &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99],
    };
    /// Decisions. The share with the reason `out_of_scope` is the out-of-scope rate.
    pub const TRIVIUM_ROUTER_DECISIONS: Metric = Metric {
        name: "trivium.router.decisions",
        unit: "{decision}",
        description: "Decisions. The share with the reason `out_of_scope` is the out-of-scope rate",
        bounds: &[],
    };
    /// Parts that answers did without.
    pub const TRIVIUM_ROUTER_DEGRADED: Metric = Metric {
        name: "trivium.router.degraded",
        unit: "{answer}",
        description: "Parts that answers did without",
        bounds: &[],
    };
    /// Decisions for which the intent model was asked.
    pub const TRIVIUM_ROUTER_INTENTS: Metric = Metric {
        name: "trivium.router.intents",
        unit: "{decision}",
        description: "Decisions for which the intent model was asked",
        bounds: &[],
    };
    /// Calls that are worked on.
    pub const TRIVIUM_SERVER_IN_FLIGHT: Metric = Metric {
        name: "trivium.server.in_flight",
        unit: "{call}",
        description: "Calls that are worked on",
        bounds: &[],
    };
    /// Calls that are let in at once, as measured.
    pub const TRIVIUM_SERVER_LIMIT: Metric = Metric {
        name: "trivium.server.limit",
        unit: "{call}",
        description: "Calls that are let in at once, as measured",
        bounds: &[],
    };
    /// Calls refused because there is enough to do.
    pub const TRIVIUM_SERVER_REFUSED: Metric = Metric {
        name: "trivium.server.refused",
        unit: "{call}",
        description: "Calls refused because there is enough to do",
        bounds: &[],
    };
    /// All of them.
    pub const ALL: [&Metric; 35] = [
        &DB_CLIENT_OPERATION_DURATION,
        &GEN_AI_CLIENT_OPERATION_DURATION,
        &GEN_AI_CLIENT_TOKEN_USAGE,
        &GEN_AI_SERVER_TIME_TO_FIRST_TOKEN,
        &RPC_CLIENT_CALL_DURATION,
        &RPC_SERVER_CALL_DURATION,
        &TRIVIUM_CACHE_LOOKUPS,
        &TRIVIUM_CLIENT_BREAKER_CHANGES,
        &TRIVIUM_CLIENT_BREAKER_OPEN,
        &TRIVIUM_CLIENT_RETRIES,
        &TRIVIUM_MODEL_BATCH_DURATION,
        &TRIVIUM_MODEL_BATCH_TEXTS,
        &TRIVIUM_MODEL_INFO,
        &TRIVIUM_MODEL_QUEUE_AGE,
        &TRIVIUM_MODEL_QUEUE_TEXTS,
        &TRIVIUM_MODEL_QUEUE_WAIT,
        &TRIVIUM_MODEL_TEXTS,
        &TRIVIUM_MODEL_TOKENS,
        &TRIVIUM_RETRIEVER_CHUNKS,
        &TRIVIUM_RETRIEVER_COMMIT_DURATION,
        &TRIVIUM_RETRIEVER_COMPACTION_DURATION,
        &TRIVIUM_RETRIEVER_COMPACTION_ROWS,
        &TRIVIUM_RETRIEVER_FRAGMENTS,
        &TRIVIUM_RETRIEVER_SNAPSHOT_LAG,
        &TRIVIUM_RETRIEVER_UNINDEXED_ROWS,
        &TRIVIUM_RETRIEVER_WRITE_QUEUE_REQUESTS,
        &TRIVIUM_ROUTER_ANSWER_DURATION,
        &TRIVIUM_ROUTER_AUDIT_LOST,
        &TRIVIUM_ROUTER_CONFIDENCE,
        &TRIVIUM_ROUTER_DECISIONS,
        &TRIVIUM_ROUTER_DEGRADED,
        &TRIVIUM_ROUTER_INTENTS,
        &TRIVIUM_SERVER_IN_FLIGHT,
        &TRIVIUM_SERVER_LIMIT,
        &TRIVIUM_SERVER_REFUSED,
    ];
}
