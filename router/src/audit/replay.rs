//! Running a recorded call again.

use std::sync::Arc;

use trivium_proto::{
    model::v1::{AnalyzeRequest, Intent, Model, ModelRef},
    router::v1::{
        AuditCall, AuditRecord, Decision, NotRetained, QueryOptions, QueryRequest, QueryResponse, ReplayQueryRequest,
        ReplayQueryResponse, ReplayVerdict,
    },
};
use trivium_service_kit::{Deadline, Error, Reason};

use super::{Past, Witness, compare, draft::sha256};
use crate::{
    decision::decision,
    execute::{answer, fold},
    policy::{Opening, Overrides, Policy, open},
    request::Query,
    service::Service,
};

/// Runs a recorded call again, on the states that it read, under the policy that decided and by the
/// models that took part, and compares. No answer is generated.
///
/// # Errors
/// When the text that the record does not hold is not given or is another, when the call failed
/// before it was decided, and when a service below fails.
pub(crate) async fn replay(
    service: &Service,
    record: AuditRecord,
    request: ReplayQueryRequest,
    deadline: Deadline,
) -> Result<ReplayQueryResponse, Error> {
    let query = text("query", &record.query, &record.query_sha256, request.query)?;
    let kept_filter = record.options.as_ref().map_or("", |options| &options.filter);
    let filter = text("filter", kept_filter, &record.filter_sha256, request.filter)?;
    let Some(recorded) = record.decision.clone() else {
        let why =
            format!("the call failed with {} before it was decided: nothing can be compared", record.error_reason);
        return Err(Error::new(Reason::FieldInvalid, why).with_field("request_id"));
    };
    let mut replay = Replay { service, deadline, response: ReplayQueryResponse::default() };
    replay.note_what_is_special(&record);
    if let Some(policy) = replay.policy(&recorded, &record).await? {
        replay.look_for_models(&query, &record).await?;
        match AuditCall::try_from(record.call) {
            Ok(AuditCall::Route) => replay.decide(&policy, &query, &recorded, record.intent.clone()),
            _ => replay.run(policy, query, filter, &record, &recorded).await?,
        }
    }
    replay.response.record = Some(record);
    Ok(replay.response)
}

/// A text that the record holds, or that the caller gives; in both cases the one that was asked.
fn text(field: &str, kept: &str, digest: &str, given: String) -> Result<String, Error> {
    if digest.is_empty() {
        return Ok(String::new());
    }
    let text = match (given.is_empty(), kept.is_empty()) {
        (false, _) => given,
        (true, false) => kept.to_owned(),
        (true, true) => {
            let why = format!("the record does not hold the {field}'s text: content was not captured; send the text");
            return Err(Error::new(Reason::FieldMissing, why).with_field(field));
        }
    };
    if sha256(&text) != digest {
        let why = format!("this is not the {field} of the record: its SHA-256 is another");
        return Err(Error::new(Reason::FieldInvalid, why).with_field(field));
    }
    Ok(text)
}

/// A replay under way.
struct Replay<'a> {
    service: &'a Service,
    deadline: Deadline,
    response: ReplayQueryResponse,
}

impl Replay<'_> {
    fn note(&mut self, words: impl Into<String>) {
        self.response.notes.push(words.into());
    }

    fn not_retained(&mut self, part: &str, what: String, reason: Reason, detail: impl Into<String>) {
        let (part, reason, detail) = (part.to_owned(), reason.as_str().to_owned(), detail.into());
        self.response.not_retained.push(NotRetained { part, what, reason, detail });
    }

    fn note_what_is_special(&mut self, record: &AuditRecord) {
        let account = record.account.clone().unwrap_or_default();
        if account.cached {
            self.note("the recorded answer came from the cache");
        }
        for left_out in account.degraded {
            self.note(format!("the recorded answer did without {} ({})", left_out.part, left_out.reason));
        }
        if !record.error_reason.is_empty() {
            self.note(format!("the recorded call ended with {}", record.error_reason));
        }
    }

    /// The policy that decided: its text is kept with the records.
    async fn policy(&mut self, recorded: &Decision, record: &AuditRecord) -> Result<Option<Arc<Policy>>, Error> {
        let version = &recorded.policy_version;
        let Some(text) = self.service.audit.policy(version, self.deadline).await? else {
            let why = "its text is not kept with the records";
            self.not_retained("policy", format!("policy {version}"), Reason::AuditRecordNotFound, why);
            self.response.verdict = ReplayVerdict::NotRetained.into();
            return Ok(None);
        };
        let policy = Policy::parse(&text, &record.default_collections)
            .map_err(|error| Error::new(Reason::Internal, format!("the kept policy {version} is wrong: {error}")))?;
        Ok(Some(Arc::new(policy)))
    }

    /// Says which of the models are not there any more, and whether the one that serves says what the record says.
    async fn look_for_models(&mut self, query: &str, record: &AuditRecord) -> Result<(), Error> {
        let there = self.service.engine.model_host().list_models(self.deadline).await?;
        let find = |model: &ModelRef| there.iter().find(|other| other.model.as_ref() == Some(model)).filter(is_usable);
        for (role, model) in models(record) {
            let what = format!("{}/{}", model.name, model.version);
            match find(&model) {
                None => {
                    let detail = match role {
                        "intent" => "what it said is on record, and is used",
                        _ => "vectors that it made cannot be made again",
                    };
                    self.not_retained("model", what, Reason::ModelNotFound, detail);
                }
                Some(model) if role == "intent" && model.serving => self.ask_again(query, record).await?,
                Some(model) if !model.serving => {
                    let how = if role == "intent" {
                        "what it said is on record, and is used"
                    } else {
                        "it is asked by its version"
                    };
                    self.note(format!("{what} is kept and does not serve; {how}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The intent model of the record serves: it must say the same.
    async fn ask_again(&mut self, query: &str, record: &AuditRecord) -> Result<(), Error> {
        let request = AnalyzeRequest { text: query.to_owned(), intent: true, ..AnalyzeRequest::default() };
        let now = self.service.engine.model_host().analyze(request, self.deadline).await?.intent.unwrap_or_default();
        let then = record.intent.clone().unwrap_or_default();
        // It may have been promoted away a moment ago.
        if now.model == then.model && (now.label != then.label || (now.confidence - then.confidence).abs() > 1e-6) {
            self.response.differences.push(format!(
                "the intent model said {} at {}, and says {} at {}",
                then.label, then.confidence, now.label, now.confidence
            ));
        }
        Ok(())
    }

    /// Decides again, from the query and what the intent model said.
    fn decide(&mut self, policy: &Policy, query: &str, recorded: &Decision, intent: Option<Intent>) {
        let wishes = Overrides::default();
        let (plan, intent) = match open(policy, query, None, &wishes) {
            Opening::Settled(plan) => (*plan, None),
            Opening::Open(open) => (open.decide(policy, &intent.clone().unwrap_or_default(), &wishes), intent),
        };
        let replayed = decision(policy, &plan, intent);
        self.response.differences.extend(compare::decisions(recorded, &replayed));
        self.response.decision = Some(replayed);
        self.conclude(ReplayVerdict::Same);
    }

    async fn run(
        &mut self,
        policy: Arc<Policy>,
        query: String,
        filter: String,
        record: &AuditRecord,
        recorded: &Decision,
    ) -> Result<(), Error> {
        let query = again(query, filter, record)?;
        let witness = Arc::new(Witness::default());
        let events = answer(Arc::clone(&self.service.engine), policy, query, self.deadline, witness);
        match fold(events).await {
            Ok(response) => self.compare(record, recorded, response),
            Err(error) => match part_of(error.reason()) {
                Some(part) => {
                    let what = searched(record);
                    self.not_retained(part, what, error.reason(), error.message());
                    self.response.verdict = ReplayVerdict::NotRetained.into();
                }
                None => return Err(error),
            },
        }
        Ok(())
    }

    fn compare(&mut self, record: &AuditRecord, recorded: &Decision, replayed: QueryResponse) {
        let QueryResponse { passages, decision, account, .. } = replayed;
        for left_out in account.iter().flat_map(|account| &account.degraded) {
            let reason = Reason::from_wire(&left_out.reason).unwrap_or(Reason::Internal);
            match part_of(reason) {
                Some(part) => self.not_retained(part, searched(record), reason, left_out.detail.as_str()),
                None => self.note(format!("the replay did without {} ({})", left_out.part, left_out.reason)),
            }
        }
        self.response.differences.extend(decision.iter().flat_map(|decision| compare::decisions(recorded, decision)));
        let (verdict, differences) = compare::passages(&record.passages, &passages);
        self.response.differences.extend(differences);
        (self.response.decision, self.response.passages, self.response.account) = (decision, passages, account);
        self.conclude(verdict);
    }

    fn conclude(&mut self, verdict: ReplayVerdict) {
        let is_different = !self.response.differences.is_empty();
        let is_incomplete = self.response.not_retained.iter().any(|missing| missing.part == "snapshot");
        let verdict = match (is_incomplete, is_different) {
            (true, _) => ReplayVerdict::NotRetained,
            (false, true) => ReplayVerdict::Different,
            (false, false) => verdict,
        };
        self.response.verdict = verdict.into();
    }
}

/// The query of a record, with the states that it read. Its answer is not wanted.
fn again(query: String, filter: String, record: &AuditRecord) -> Result<Query, Error> {
    let options = record.options.clone().unwrap_or_default();
    let options = QueryOptions { filter, as_of: None, min_versions: Default::default(), ..options };
    let mut query = Query::try_from(QueryRequest { query, options: Some(options), ..QueryRequest::default() })?;
    query.answer = false;
    query.past = Some(Arc::new(Past { intent: record.intent.clone(), searches: record.searches.clone() }));
    Ok(query)
}

/// What is not kept any more when a replay ends in that way.
fn part_of(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::SnapshotExpired | Reason::SnapshotNotFound | Reason::CollectionNotFound => Some("snapshot"),
        Reason::ModelNotFound | Reason::EmbedderMismatch => Some("model"),
        _ => None,
    }
}

/// The models that passages depend on, each once, with their roles.
fn models(record: &AuditRecord) -> Vec<(&'static str, ModelRef)> {
    let intent = record.intent.iter().filter_map(|intent| Some(("intent", intent.model.clone()?)));
    let embedders = record.searches.iter().filter_map(|search| Some(("embedder", search.embedder.clone()?)));
    let mut models: Vec<(&'static str, ModelRef)> = Vec::new();
    for model in intent.chain(embedders) {
        if !models.contains(&model) {
            models.push(model);
        }
    }
    models
}

fn is_usable(model: &&Model) -> bool {
    model.problem.is_empty()
}

/// The states that were read, in words.
fn searched(record: &AuditRecord) -> String {
    let snapshots = record.searches.iter().filter_map(|search| search.snapshot.as_ref());
    let words: Vec<String> =
        snapshots.map(|snapshot| format!("{} at version {}", snapshot.collection, snapshot.version)).collect();
    words.join(", ")
}
