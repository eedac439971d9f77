//! A retriever that finds what a test tells it to.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::Stream;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use trivium_proto::retriever::v1::{
    CheckCollectionRequest, CheckCollectionResponse, Collection, CreateCollectionRequest, CreateCollectionResponse,
    DeleteCollectionRequest, DeleteCollectionResponse, DeleteDocumentsRequest, DeleteDocumentsResponse,
    DeleteTagRequest, DeleteTagResponse, GetCollectionRequest, GetCollectionResponse, GetDocumentsRequest,
    GetDocumentsResponse, Hit, Leg, LegReport, LegScore, ListCollectionsRequest, ListCollectionsResponse,
    ListSnapshotsRequest, ListSnapshotsResponse, PurgeDocumentsRequest, PurgeDocumentsResponse,
    ReembedCollectionRequest, ReembedCollectionResponse, SearchRequest, SearchResponse, SetBlendRequest,
    SetBlendResponse, SetRerankRequest, SetRerankResponse, Snapshot, TagSnapshotRequest, TagSnapshotResponse,
    UpgradeCollectionRequest, UpgradeCollectionResponse, UpsertDocumentsRequest, UpsertDocumentsResponse, as_of::State,
    retriever_service_server::RetrieverService,
};
use trivium_service_kit::{Error, Reason};

use crate::fake_model_host::model_ref;

/// A filter that the stand-in refuses, as the real one would.
pub const WRONG_FILTER: &str = "= 1";

/// Versions before this one are not kept.
pub const OLDEST_KEPT: u64 = 5;

/// The collections and their hits.
#[derive(Clone, Debug)]
pub struct Script {
    pub collections: BTreeMap<&'static str, Vec<Hit>>,
    /// Whether the collections were made with an encoder that the model host does not serve.
    pub other_embedder: bool,
    /// Why no search works.
    pub fails: Option<Reason>,
    /// A leg that does not work, and why.
    pub broken_leg: Option<(Leg, Reason)>,
    /// Collections that cannot be searched, and why.
    pub broken_collections: BTreeMap<&'static str, Reason>,
    /// Whether searches never end.
    pub hangs: bool,
}

impl Default for Script {
    fn default() -> Self {
        let hits = vec![hit("guide.md", 8.0, 0.9), hit("faq.md", 2.0, 0.5)];
        Self {
            collections: BTreeMap::from([("docs", hits)]),
            other_embedder: false,
            fails: None,
            broken_leg: None,
            broken_collections: BTreeMap::new(),
            hangs: false,
        }
    }
}

/// The first chunk of a document, found by both legs.
pub fn hit(document: &str, lexical: f64, semantic: f64) -> Hit {
    let leg = |leg: Leg, score| LegScore {
        leg: leg.into(),
        rank: 1,
        score,
        normalised_score: score,
        share: score / 2.0,
        terms: Vec::new(),
    };
    Hit {
        document_id: document.to_owned(),
        chunk_id: format!("{document}#0"),
        char_end: 11,
        title: format!("Title of {document}"),
        text: format!("It is here, in {document}."),
        uri: format!("file:///{document}"),
        score: lexical,
        legs: vec![leg(Leg::Lexical, lexical), leg(Leg::Semantic, semantic)],
        ..Hit::default()
    }
}

/// The stand-in, and what it was asked.
#[derive(Debug)]
pub struct FakeRetriever {
    pub script: Script,
    pub searched: Mutex<Vec<SearchRequest>>,
    /// The version of every collection.
    pub version: AtomicU64,
    /// Searches that are under way.
    pub running: watch::Sender<usize>,
}

/// Counts itself among the searches that are under way, for as long as it lives.
struct Underway<'a>(&'a watch::Sender<usize>);

impl<'a> Underway<'a> {
    fn new(running: &'a watch::Sender<usize>) -> Self {
        running.send_modify(|count| *count += 1);
        Self(running)
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl FakeRetriever {
    pub fn new(script: Script) -> Arc<Self> {
        let (version, running) = (AtomicU64::new(7), watch::Sender::new(0));
        Arc::new(Self { script, searched: Mutex::default(), version, running })
    }

    /// The state that searches read.
    fn snapshot(&self, collection: &str) -> Snapshot {
        let version = self.version.load(Ordering::SeqCst);
        Snapshot { collection: collection.to_owned(), version, ..Snapshot::default() }
    }

    /// The legs that answer a search and the report of the one that does not.
    fn legs(&self, request: &SearchRequest) -> Result<(Vec<Leg>, Option<LegReport>), Error> {
        let asked = |leg: &Leg| request.legs.contains(&i32::from(*leg));
        let asked: Vec<Leg> = [Leg::Lexical, Leg::Semantic].into_iter().filter(asked).collect();
        let Some((broken, reason)) = self.script.broken_leg.filter(|(leg, _)| asked.contains(leg)) else {
            return Ok((asked, None));
        };
        let left: Vec<Leg> = asked.into_iter().filter(|leg| *leg != broken).collect();
        if left.is_empty() || !request.allow_partial {
            return Err(Error::new(reason, "as the test asked"));
        }
        let (reason, detail) = (reason.as_str().to_owned(), "as the test asked".to_owned());
        let report = LegReport { leg: broken.into(), missing: true, reason, detail, ..LegReport::default() };
        Ok((left, Some(report)))
    }

    fn search(&self, request: &SearchRequest) -> Result<SearchResponse, Error> {
        let Some(hits) = self.script.collections.get(request.collection.as_str()) else {
            let why = format!("there is no collection {:?}", request.collection);
            return Err(Error::new(Reason::CollectionNotFound, why).with_field("collection"));
        };
        if self.script.other_embedder && !request.vectors.is_empty() {
            return Err(Error::new(Reason::EmbedderMismatch, "no vector is of the collection's embedder"));
        }
        if request.filter == WRONG_FILTER {
            return Err(Error::new(Reason::FilterInvalid, "at offset 0: expected a field").with_field("filter"));
        }
        let mut snapshot = self.snapshot(&request.collection);
        match request.as_of.as_ref().and_then(|as_of| as_of.state.clone()) {
            Some(State::Version(version)) if version < OLDEST_KEPT => {
                let why = format!("version {version} is not kept any more");
                return Err(Error::new(Reason::SnapshotExpired, why).with_field("as_of"));
            }
            Some(State::Version(version)) => snapshot.version = version,
            _ => {}
        }
        let fails = self.script.fails.or(self.script.broken_collections.get(request.collection.as_str()).copied());
        if let Some(reason) = fails {
            return Err(Error::new(reason, "as the test asked").with_field("collection"));
        }
        let (legs, missing) = self.legs(request)?;
        let mut hits = hits.clone();
        for hit in &mut hits {
            hit.legs.retain(|score| legs.contains(&score.leg()));
        }
        hits.truncate(request.k.unwrap_or(10) as usize);
        let has_vector = legs.contains(&Leg::Semantic);
        let reports = legs.into_iter().map(|leg| LegReport {
            leg: leg.into(),
            candidates: 2,
            elapsed_ms: 1.5,
            ..LegReport::default()
        });
        let embedder = if self.script.other_embedder { "other" } else { "minilm" };
        Ok(SearchResponse {
            hits,
            snapshot: Some(snapshot),
            embedder: has_vector.then(|| model_ref(embedder)),
            legs: reports.chain(missing).collect(),
            elapsed_ms: 2.0,
            fusion: request.fusion,
            ..SearchResponse::default()
        })
    }
}

/// The shared stand-in as a gRPC service.
pub struct Served(pub Arc<FakeRetriever>);

fn unused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the router only searches"))
}

#[tonic::async_trait]
impl RetrieverService for Served {
    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        let request = request.into_inner();
        self.0.searched.lock().expect("no test panics with it").push(request.clone());
        let _underway = Underway::new(&self.0.running);
        if self.0.script.hangs {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(self.0.search(&request)?))
    }

    async fn list_collections(
        &self,
        _: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let names = self.0.script.collections.keys();
        let collections = names.map(|&name| Collection { name: name.to_owned(), ..Collection::default() }).collect();
        Ok(Response::new(ListCollectionsResponse { collections }))
    }

    async fn create_collection(
        &self,
        _: Request<CreateCollectionRequest>,
    ) -> Result<Response<CreateCollectionResponse>, Status> {
        unused()
    }

    async fn get_collection(
        &self,
        request: Request<GetCollectionRequest>,
    ) -> Result<Response<GetCollectionResponse>, Status> {
        let name = request.into_inner().name;
        if !self.0.script.collections.contains_key(name.as_str()) {
            return Err(Error::new(Reason::CollectionNotFound, format!("there is no collection {name:?}")).into());
        }
        let snapshot = Some(self.0.snapshot(&name));
        let collection = Collection { name, snapshot, embedder: Some(model_ref("minilm")), ..Collection::default() };
        Ok(Response::new(GetCollectionResponse { collection: Some(collection) }))
    }

    async fn delete_collection(
        &self,
        _: Request<DeleteCollectionRequest>,
    ) -> Result<Response<DeleteCollectionResponse>, Status> {
        unused()
    }

    type UpsertDocumentsStream = Pin<Box<dyn Stream<Item = Result<UpsertDocumentsResponse, Status>> + Send>>;

    async fn upsert_documents(
        &self,
        _: Request<Streaming<UpsertDocumentsRequest>>,
    ) -> Result<Response<Self::UpsertDocumentsStream>, Status> {
        unused()
    }

    async fn delete_documents(
        &self,
        _: Request<DeleteDocumentsRequest>,
    ) -> Result<Response<DeleteDocumentsResponse>, Status> {
        unused()
    }

    async fn get_documents(&self, _: Request<GetDocumentsRequest>) -> Result<Response<GetDocumentsResponse>, Status> {
        unused()
    }

    async fn check_collection(
        &self,
        _: Request<CheckCollectionRequest>,
    ) -> Result<Response<CheckCollectionResponse>, Status> {
        unused()
    }

    async fn list_snapshots(
        &self,
        _: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        unused()
    }

    async fn tag_snapshot(&self, _: Request<TagSnapshotRequest>) -> Result<Response<TagSnapshotResponse>, Status> {
        unused()
    }

    async fn delete_tag(&self, _: Request<DeleteTagRequest>) -> Result<Response<DeleteTagResponse>, Status> {
        unused()
    }

    async fn set_blend(&self, _: Request<SetBlendRequest>) -> Result<Response<SetBlendResponse>, Status> {
        unused()
    }

    async fn set_rerank(&self, _: Request<SetRerankRequest>) -> Result<Response<SetRerankResponse>, Status> {
        unused()
    }

    async fn upgrade_collection(
        &self,
        _: Request<UpgradeCollectionRequest>,
    ) -> Result<Response<UpgradeCollectionResponse>, Status> {
        unused()
    }

    async fn reembed_collection(
        &self,
        _: Request<ReembedCollectionRequest>,
    ) -> Result<Response<ReembedCollectionResponse>, Status> {
        unused()
    }

    async fn purge_documents(
        &self,
        _: Request<PurgeDocumentsRequest>,
    ) -> Result<Response<PurgeDocumentsResponse>, Status> {
        unused()
    }
}
