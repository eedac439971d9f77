//! Somebody with a key, who calls every method of the contract.

use futures::{StreamExt, stream};
use tonic::Status;
use trivium_proto::{model::v1 as model, retriever::v1 as retriever, router::v1 as router};
use trivium_service_kit::{ClientOptions, Deadline, Error, GrpcChannel, Service};

use crate::process::Running;

/// What names of nothing begin with.
pub const NOBODY: &str = "nobody";

/// What a caller names: things of its own, of others, or of nobody.
#[derive(Clone, Debug)]
pub struct Names {
    pub collection: String,
    pub document: String,
    pub tag: String,
    pub request_id: String,
    pub query: String,
}

impl Names {
    fn of(prefix: &str, round: usize) -> Self {
        Self {
            collection: format!("{prefix}-only"),
            document: format!("{prefix}-document-{round}"),
            tag: format!("{prefix}-tag-{round}"),
            request_id: format!("{prefix}-request-{round}"),
            query: format!("Where does the fish of {prefix} number {round} live?"),
        }
    }

    /// Names of nothing.
    pub fn unknown(round: usize) -> Self {
        Self::of(NOBODY, round)
    }
}

/// Whose things are named, by rounds.
pub struct Things(String);

impl Things {
    pub fn of_round(&self, round: usize) -> Names {
        Names::of(&self.0, round)
    }
}

/// Somebody with a key.
pub struct Caller {
    prefix: String,
    router: router::router_service_client::RouterServiceClient<GrpcChannel>,
    audit: router::audit_service_client::AuditServiceClient<GrpcChannel>,
    retriever: retriever::retriever_service_client::RetrieverServiceClient<GrpcChannel>,
    model: model::model_service_client::ModelServiceClient<GrpcChannel>,
}

/// What became of a call, in words that two calls can be compared by: without times, measures and what is random.
type Outcome = Result<String, Status>;

impl Caller {
    pub fn new(system: &Running, key: &str, prefix: &str) -> Self {
        let to = |peer: Service| {
            let endpoint = format!("http://{}", system.addr(peer.name()));
            let options = ClientOptions { endpoint, ..ClientOptions::default() };
            GrpcChannel::connect(Service::Cli, peer, &options).expect("an address").with_bearer(key).expect("plain")
        };
        Self {
            prefix: prefix.to_owned(),
            router: router::router_service_client::RouterServiceClient::new(to(Service::Router)),
            audit: router::audit_service_client::AuditServiceClient::new(to(Service::Router)),
            retriever: retriever::retriever_service_client::RetrieverServiceClient::new(to(Service::Retriever)),
            model: model::model_service_client::ModelServiceClient::new(to(Service::ModelHost)),
        }
    }

    /// Makes things of one's own, whose contents hold `marker`: a collection of a name that others have too and one of
    /// another, documents, tags, records with feedback, remembered queries.
    pub async fn settle(&mut self, marker: &str, rounds: usize) -> Things {
        let things = Things(self.prefix.clone());
        for collection in ["docs".to_owned(), things.of_round(0).collection] {
            let made = retriever::CreateCollectionRequest { name: collection.clone(), ..Default::default() };
            self.retriever.create_collection(made).await.expect("made");
            for round in 0..rounds {
                let names = Names { collection: collection.clone(), ..things.of_round(round) };
                self.upsert(&names, marker).await.expect("stored");
                self.tag(&names).await.expect("tagged");
            }
        }
        for round in 0..rounds {
            let names = things.of_round(round);
            self.query(&names).await.expect("answered");
            self.feedback(&names).await.expect("kept");
            self.analyze(&names).await.expect("remembered");
        }
        things
    }

    /// What is there of one's own, to the letter.
    pub async fn fingerprint(&mut self, things: &Things) -> String {
        let mut prints = Vec::new();
        let listed = self.retriever.list_collections(retriever::ListCollectionsRequest {}).await.expect("listed");
        prints.push(format!("{:?}", listed.into_inner()));
        for collection in ["docs".to_owned(), things.of_round(0).collection] {
            let kept = retriever::ListSnapshotsRequest { collection: collection.clone() };
            let kept = self.retriever.list_snapshots(kept).await.expect("listed").into_inner();
            prints.push(format!("{kept:?}"));
            let names = Names { collection, ..things.of_round(0) };
            prints.push(self.search(&names).await.expect("found"));
            prints.push(self.documents(&names).await.expect("read"));
        }
        prints.push(self.record(&things.of_round(0)).await.expect("on record"));
        prints.push(self.export().await.expect("exported"));
        prints.join("\n")
    }

    /// Calls a method with these names. What it gives holds everything that is not measured or random.
    pub async fn call(&mut self, method: &str, names: &Names) -> String {
        let outcome = match method.split_once('/').expect("a full name") {
            ("trivium.router.v1.RouterService" | "trivium.router.v1.AuditService", name) => {
                self.call_router(name, names).await
            }
            ("trivium.retriever.v1.RetrieverService", name) => self.call_retriever(name, names).await,
            ("trivium.model.v1.ModelService", name) => self.call_model(name, names).await,
            _ => panic!("{method} is a method that this test does not know"),
        };
        match outcome {
            Ok(text) => format!("ok {text}"),
            Err(status) => {
                let error = Error::from(status);
                format!("{} {} {:?}", error.reason().as_str(), error.message(), error.field())
            }
        }
    }

    async fn call_router(&mut self, name: &str, names: &Names) -> Outcome {
        match name {
            "Route" => {
                let request = router::RouteRequest { query: names.query.clone(), ..Default::default() };
                let answer = self.router.route(request).await?.into_inner();
                // The intent is one of the text; that there is one is what can be compared.
                Ok(format!("{}", answer.decision.is_some()))
            }
            "Query" => self.query(names).await,
            "QueryStream" => {
                let request = query(names);
                let request = router::QueryStreamRequest {
                    query: request.query,
                    request_id: request.request_id,
                    options: request.options,
                    ..Default::default()
                };
                let mut events = self.router.query_stream(request).await?.into_inner();
                let mut seen = Vec::new();
                while let Some(message) = events.message().await? {
                    use router::query_stream_response::Event;
                    match message.event.expect("an event") {
                        Event::Passages(list) => seen.push(passages(&list.passages)),
                        Event::Text(text) => seen.push(text),
                        Event::Account(account) => seen.push(self::account(&account)),
                        Event::Decision(_) | Event::Citation(_) => {}
                    }
                }
                Ok(seen.join("|"))
            }
            "CheckLabels" => {
                let request = router::CheckLabelsRequest { labels: vec!["a".into()], ..Default::default() };
                Ok(format!("{:?}", self.router.check_labels(request).await?.into_inner()))
            }
            "GetPolicy" => Ok(format!("{:?}", self.router.get_policy(router::GetPolicyRequest {}).await?.into_inner())),
            "SubmitFeedback" => self.feedback(names).await,
            "GetAuditRecord" => self.record(names).await,
            "ReplayQuery" => {
                let request = router::ReplayQueryRequest {
                    request_id: names.request_id.clone(),
                    query: names.query.clone(),
                    ..Default::default()
                };
                let answer = self.audit.replay_query(request).await?.into_inner();
                Ok(format!("{:?} {}", answer.verdict, passages(&answer.passages)))
            }
            "ExportAudit" => self.export().await,
            _ => panic!("{name} is a method that this test does not know"),
        }
    }

    async fn call_retriever(&mut self, name: &str, names: &Names) -> Outcome {
        let collection = || names.collection.clone();
        let ids = || vec![names.document.clone()];
        match name {
            "CreateCollection" => {
                let request = retriever::CreateCollectionRequest { name: collection(), ..Default::default() };
                let made = self.retriever.create_collection(request).await?.into_inner().collection;
                Ok(made.map(|made| described(&made)).unwrap_or_default())
            }
            "GetCollection" => {
                let request = retriever::GetCollectionRequest { name: collection() };
                let found = self.retriever.get_collection(request).await?.into_inner().collection;
                Ok(found.map(|found| described(&found)).unwrap_or_default())
            }
            "ListCollections" => {
                let listed = self.retriever.list_collections(retriever::ListCollectionsRequest {}).await?.into_inner();
                Ok(listed.collections.iter().map(described).collect::<Vec<_>>().join(" "))
            }
            "DeleteCollection" => {
                let request = retriever::DeleteCollectionRequest { name: collection() };
                self.retriever.delete_collection(request).await.map(|_| String::new())
            }
            "UpsertDocuments" => self.upsert(names, "herring").await,
            "DeleteDocuments" => {
                let request = retriever::DeleteDocumentsRequest { collection: collection(), document_ids: ids() };
                Ok(self.retriever.delete_documents(request).await?.into_inner().deleted.to_string())
            }
            "GetDocuments" => self.documents(names).await,
            "Search" => self.search(names).await,
            "CheckCollection" => {
                let request = retriever::CheckCollectionRequest { name: collection() };
                let report = self.retriever.check_collection(request).await?.into_inner();
                Ok(format!("{} {}", report.table_rows, report.problem_count))
            }
            "ListSnapshots" => {
                let request = retriever::ListSnapshotsRequest { collection: collection() };
                let kept = self.retriever.list_snapshots(request).await?.into_inner().snapshots;
                Ok(format!("{:?}", kept.iter().map(|kept| &kept.tags).collect::<Vec<_>>()))
            }
            "TagSnapshot" => self.tag(names).await,
            "DeleteTag" => {
                let request = retriever::DeleteTagRequest { collection: collection(), tag: names.tag.clone() };
                self.retriever.delete_tag(request).await.map(|_| String::new())
            }
            "PurgeDocuments" => {
                let request = retriever::PurgeDocumentsRequest { collection: collection(), document_ids: ids() };
                self.retriever.purge_documents(request).await.map(|_| String::new())
            }
            "UpgradeCollection" => {
                let request = retriever::UpgradeCollectionRequest { name: collection() };
                self.retriever.upgrade_collection(request).await.map(|_| String::new())
            }
            "SetRerank" => {
                let method = retriever::RerankMethod::None.into();
                let request = retriever::SetRerankRequest { name: collection(), method };
                self.retriever.set_rerank(request).await.map(|_| String::new())
            }
            "ReembedCollection" => {
                let request = retriever::ReembedCollectionRequest { name: collection(), embedder: None };
                self.retriever.reembed_collection(request).await.map(|_| String::new())
            }
            "SetBlend" => {
                let request =
                    retriever::SetBlendRequest { name: collection(), semantic_weight: Some(0.5), ..Default::default() };
                self.retriever.set_blend(request).await.map(|_| String::new())
            }
            _ => panic!("{name} is a method that this test does not know"),
        }
    }

    async fn call_model(&mut self, name: &str, names: &Names) -> Outcome {
        // Of models no tenant has any of its own; those that change them name one that nobody has.
        let none = || Some(model::ModelRef { name: "no-model".into(), version: "1".into() });
        match name {
            "Analyze" => self.analyze(names).await,
            "Embed" => {
                let request = model::EmbedRequest { texts: vec![names.query.clone()], ..Default::default() };
                Ok(self.model.embed(request).await?.into_inner().embeddings.len().to_string())
            }
            "GetTokenizer" => {
                let found = self.model.get_tokenizer(model::GetTokenizerRequest::default()).await?.into_inner();
                Ok(found.sha256)
            }
            "Generate" => {
                let request = model::GenerateRequest { query: names.query.clone(), ..Default::default() };
                let mut events = self.model.generate(request).await?.into_inner();
                while events.message().await?.is_some() {}
                Ok(String::new())
            }
            "Rerank" => {
                let request = model::RerankRequest { query: names.query.clone(), ..Default::default() };
                self.model.rerank(request).await.map(|_| String::new())
            }
            "ListModels" => {
                let listed = self.model.list_models(model::ListModelsRequest {}).await?.into_inner();
                Ok(format!("{:?}", listed.models.iter().map(|model| &model.model).collect::<Vec<_>>()))
            }
            "LoadModel" => {
                let request = model::LoadModelRequest { model: none() };
                self.model.load_model(request).await.map(|_| String::new())
            }
            "UnloadModel" => {
                let request = model::UnloadModelRequest { model: none() };
                self.model.unload_model(request).await.map(|_| String::new())
            }
            "PromoteModel" => {
                let request = model::PromoteModelRequest { model: none() };
                self.model.promote_model(request).await.map(|_| String::new())
            }
            "RollbackModel" => {
                let request = model::RollbackModelRequest { name: "no-model".into() };
                self.model.rollback_model(request).await.map(|_| String::new())
            }
            "ShadowModel" => {
                let request = model::ShadowModelRequest { name: "no-model".into(), ..Default::default() };
                self.model.shadow_model(request).await.map(|_| String::new())
            }
            _ => panic!("{name} is a method that this test does not know"),
        }
    }
}

impl Caller {
    async fn upsert(&mut self, names: &Names, marker: &str) -> Outcome {
        let document = retriever::Document {
            id: names.document.clone(),
            title: format!("{marker} of a title"),
            text: format!("The fish lives in the {marker} lake, where the water is cold."),
            uri: format!("file:///{marker}"),
            ..Default::default()
        };
        let batch = retriever::UpsertDocumentsRequest {
            collection: names.collection.clone(),
            documents: vec![document],
            ..Default::default()
        };
        let request = Deadline::after(std::time::Duration::from_secs(60)).request(stream::iter([batch]));
        let mut answers = self.retriever.upsert_documents(request).await?.into_inner();
        let mut upserted = 0;
        while let Some(answer) = answers.next().await {
            let answer = answer?;
            upserted += answer.upserted + answer.unchanged;
        }
        Ok(upserted.to_string())
    }

    async fn documents(&mut self, names: &Names) -> Outcome {
        let request = retriever::GetDocumentsRequest {
            collection: names.collection.clone(),
            document_ids: vec![names.document.clone()],
        };
        let found = self.retriever.get_documents(request).await?.into_inner();
        let texts = found.documents.iter().filter_map(|stored| stored.document.as_ref());
        let texts: Vec<_> = texts.map(|document| (&document.id, &document.title, &document.text)).collect();
        Ok(format!("{texts:?} {:?}", found.missing_document_ids))
    }

    async fn search(&mut self, names: &Names) -> Outcome {
        let request = retriever::SearchRequest {
            collection: names.collection.clone(),
            query: "fish lake".to_owned(),
            ..Default::default()
        };
        let found = self.retriever.search(request).await?.into_inner();
        let hits: Vec<_> = found.hits.iter().map(|hit| (&hit.document_id, &hit.title, &hit.text)).collect();
        Ok(format!("{hits:?}"))
    }

    async fn tag(&mut self, names: &Names) -> Outcome {
        let request = retriever::TagSnapshotRequest {
            collection: names.collection.clone(),
            tag: names.tag.clone(),
            ..Default::default()
        };
        let tagged = self.retriever.tag_snapshot(request).await?.into_inner().snapshot.unwrap_or_default();
        Ok(format!("{:?}", tagged.tags.contains(&names.tag)))
    }

    async fn query(&mut self, names: &Names) -> Outcome {
        let answer = self.router.query(query(names)).await?.into_inner();
        let account = answer.account.unwrap_or_default();
        Ok(format!("{} {} {}", passages(&answer.passages), answer.answer, self::account(&account)))
    }

    async fn feedback(&mut self, names: &Names) -> Outcome {
        let feedback = router::Feedback { helpful: Some(true), ..Default::default() };
        let request = router::SubmitFeedbackRequest { request_id: names.request_id.clone(), feedback: Some(feedback) };
        self.router.submit_feedback(request).await.map(|_| String::new())
    }

    async fn record(&mut self, names: &Names) -> Outcome {
        let request = router::GetAuditRecordRequest { request_id: names.request_id.clone() };
        let record = self.audit.get_audit_record(request).await?.into_inner().record.unwrap_or_default();
        Ok(recorded(&record))
    }

    async fn export(&mut self) -> Outcome {
        let mut items = self.audit.export_audit(router::ExportAuditRequest::default()).await?.into_inner();
        let mut seen = Vec::new();
        while let Some(message) = items.message().await? {
            match message.item.expect("an item") {
                router::export_audit_response::Item::Record(record) => seen.push(recorded(&record)),
                router::export_audit_response::Item::Gap(gap) => seen.push(format!("{} lost", gap.lost_records)),
            }
        }
        Ok(seen.join("\n"))
    }

    async fn analyze(&mut self, names: &Names) -> Outcome {
        let request = model::AnalyzeRequest { text: names.query.clone(), vector: true, ..Default::default() };
        Ok(format!("cached: {}", self.model.analyze(request).await?.into_inner().cached))
    }
}

/// A query that needs no intent, over the collection of that name.
fn query(names: &Names) -> router::QueryRequest {
    router::QueryRequest {
        query: names.query.clone(),
        request_id: names.request_id.clone(),
        options: Some(router::QueryOptions {
            collections: vec![names.collection.clone()],
            road: router::Road::Lexical.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn passages(passages: &[router::Passage]) -> String {
    let hits = passages.iter().filter_map(|passage| passage.hit.as_ref());
    format!("{:?}", hits.map(|hit| (&hit.document_id, &hit.title, &hit.text)).collect::<Vec<_>>())
}

fn account(account: &router::Account) -> String {
    let degraded: Vec<_> = account.degraded.iter().map(|part| &part.reason).collect();
    format!("cached: {} {degraded:?} {}", account.cached, account.snapshots.len())
}

fn described(collection: &retriever::Collection) -> String {
    format!("{} {} {}", collection.name, collection.documents, collection.chunks)
}

fn recorded(record: &router::AuditRecord) -> String {
    let ids: Vec<_> = record.passages.iter().filter_map(|passage| passage.hit.as_ref()).collect();
    let ids: Vec<_> = ids.iter().map(|hit| &hit.document_id).collect();
    let names = record.options.as_ref().map(|options| &options.collections);
    format!("{} {} {names:?} {ids:?} {} said", record.request_id, record.error_reason, record.feedback.len())
}
